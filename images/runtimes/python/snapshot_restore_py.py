"""Hooks around a snapshot, by the names that AWS gives them: before it in reverse order, after a restore in order."""

_before_snapshot = []
_after_restore = []


def register_before_snapshot(func, *args, **kwargs):
    """Also a decorator."""
    _before_snapshot.insert(0, (func, args, kwargs))
    return func


def register_after_restore(func, *args, **kwargs):
    """Also a decorator."""
    _after_restore.append((func, args, kwargs))
    return func


def get_before_snapshot():
    return _before_snapshot


def get_after_restore():
    return _after_restore
