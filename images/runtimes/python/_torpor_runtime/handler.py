"""From a handler's name to the function that it names."""

import importlib
import sys

from .failure import Failure


def load_handler(name):
    """Imports `module` of `module.function`; raises a failure with the kinds of errors that AWS has."""
    try:
        module_name, function_name = name.rsplit(".", 1)
    except ValueError as error:
        raise Failure("Runtime.MalformedHandlerName", "Bad handler '%s': %s" % (name, error)) from None
    if module_name.split(".")[0] in sys.builtin_module_names:
        message = "Cannot use built-in module %s as a handler module" % module_name
        raise Failure("Runtime.MalformedHandlerName", message)
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        message = "Unable to import module '%s': %s" % (module_name, error)
        raise Failure("Runtime.ImportModuleError", message) from None
    except SyntaxError as error:
        trace = ['  File "%s" Line %s\n    %s' % (error.filename, error.lineno, error.text)]
        message = "Syntax error in module '%s': %s" % (module_name, error)
        raise Failure("Runtime.UserCodeSyntaxError", message, trace) from None
    try:
        return getattr(module, function_name)
    except AttributeError:
        message = "Handler '%s' missing on module '%s'" % (function_name, module_name)
        raise Failure("Runtime.HandlerNotFound", message) from None
