"""What a function of training leaves behind is taken away, so that the function which follows finds the process as it was."""

import gc
import logging
import os
import sys

from . import log


class Trained:
    def __enter__(self):
        self._path = list(sys.path)
        self._modules = set(sys.modules)
        root = logging.getLogger()
        self._handlers, self._level = list(root.handlers), root.level

    def __exit__(self, *raised):
        root = logging.getLogger()
        root.handlers[:] = self._handlers
        root.setLevel(self._level)
        log.current.request_id, log.current.tenant_id = "", None
        for path in sys.path:
            if path not in self._path:
                sys.path_importer_cache.pop(path, None)
        sys.path[:] = self._path
        task_root = os.environ["LAMBDA_TASK_ROOT"]
        for name in set(sys.modules) - self._modules:
            if (getattr(sys.modules[name], "__file__", None) or "").startswith(task_root):
                del sys.modules[name]
        # What a function begins with has nothing that is to be tidied up, or looked at, in its time.
        gc.collect()
        gc.freeze()
