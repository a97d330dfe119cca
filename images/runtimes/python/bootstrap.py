"""What is started for a Python function: the runtime is in a package whose name no function's module has."""

from _torpor_runtime.main import main

if __name__ == "__main__":
    main()
