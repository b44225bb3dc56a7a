# SPDX-License-Identifier: MIT
"""Exceptions: one class for each error code of the library, with the detail it gives."""
from __future__ import annotations

import operator
import os
from typing import Any

from ._generated import ErrorCode, ErrorSubsystem
from ._pvvirt import ffi, lib


def text(c: Any) -> str:
    """A C string that the library owns. Guests may write anything into a reason: never fail on it."""
    return "" if c == ffi.NULL else str(ffi.string(c).decode("utf-8", "replace"))


class Error(Exception):
    """A libpvvirt call failed. ``str(error)`` is a sentence that says what was wrong and where.

    Catch one of its subclasses to handle one code, this class to handle all. A guest that crashes is
    no error of a call: see :class:`DomainStatus`.
    """

    code: ErrorCode
    """The library's code."""
    subsystem: ErrorSubsystem
    """The part of the library that reported the error."""
    os_errno: int
    """The host's errno behind the failure, or 0."""
    object: str
    """What failed: a domain's name, a file, an element; "" if nothing can be named."""
    message: str
    """The sentence."""

    def __init__(self, code: int, message: str, subsystem: int = 0, os_errno: int = 0, object: str = "") -> None:
        Exception.__init__(self, message)
        self.code = ErrorCode(code)
        self.subsystem = ErrorSubsystem(subsystem)
        self.os_errno = os_errno
        self.object = object
        self.message = message

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> Any:  # so that it travels through multiprocessing
        return type(self), (self.code, self.message, self.subsystem, self.os_errno, self.object)


class InvalidArgumentError(Error, ValueError):
    """An argument is outside its documented range, or the object was closed."""


class OutOfMemoryError(Error, MemoryError):
    """Memory or address space is exhausted."""


class SystemCallError(Error):
    """The host's kernel refused a call; ``os_errno`` says why."""


class XMLError(Error, ValueError):
    """The domain XML is malformed or not acceptable; the message has the line and column."""


class UnsupportedError(Error):
    """Valid, but this library, build or host cannot do it."""


class StateError(Error):
    """The domain is not in a state that allows the operation."""


class NotFoundError(Error, LookupError):
    """There is no such domain, device, file or console."""


class ExistsError(Error):
    """Something of that name exists already."""


class ImageError(Error, ValueError):
    """The kernel image is malformed or not a Xen PV image."""


class LimitError(Error):
    """A documented limit would be exceeded."""


class BusyError(Error):
    """The resource is in use."""


class TimedOutError(Error, TimeoutError):
    """The time allowed has passed."""


class AgainError(Error):
    """Nothing is there now."""


class GuestError(Error):
    """The guest broke a protocol."""


class AccessError(Error):
    """The host denies permission."""


class ForkError(Error):
    """The handle belongs to the process before a fork(); open a host of your own in the child."""


class IOFailedError(Error):
    """Reading or writing a file or device failed."""


class InternalError(Error):
    """A bug in libpvvirt; please report the message."""


BY_CODE: dict[int, type[Error]] = {
    ErrorCode.EINVAL: InvalidArgumentError,
    ErrorCode.ENOMEM: OutOfMemoryError,
    ErrorCode.ESYS: SystemCallError,
    ErrorCode.EXML: XMLError,
    ErrorCode.EUNSUPPORTED: UnsupportedError,
    ErrorCode.ESTATE: StateError,
    ErrorCode.ENOENT: NotFoundError,
    ErrorCode.EEXIST: ExistsError,
    ErrorCode.EIMAGE: ImageError,
    ErrorCode.ELIMIT: LimitError,
    ErrorCode.EBUSY: BusyError,
    ErrorCode.ETIMEDOUT: TimedOutError,
    ErrorCode.EAGAIN: AgainError,
    ErrorCode.EGUEST: GuestError,
    ErrorCode.EPERM: AccessError,
    ErrorCode.EFORK: ForkError,
    ErrorCode.EIO: IOFailedError,
    ErrorCode.EINTERNAL: InternalError,
}


def make(code: int) -> Error:
    """The exception for a call of this thread that has just returned ``code``."""
    kind = BY_CODE.get(code, Error)
    detail = lib.pvv_error_last()
    # The record is the thread's last failure. It is another call's only if the garbage collector
    # dropped a handle from before a fork in between.
    if lib.pvv_error_get_code(detail) != code:
        return kind(code, text(lib.pvv_error_code_name(code)))
    return kind(
        code,
        text(lib.pvv_error_get_message(detail)),
        lib.pvv_error_get_subsystem(detail),
        lib.pvv_error_get_os_errno(detail),
        text(lib.pvv_error_get_object(detail)),
    )


def check(code: int) -> int:
    """Return what a call returned, or raise its error."""
    if code < 0:
        raise make(code)
    return code


def invalid(message: str) -> InvalidArgumentError:
    """An error that the bindings find themselves."""
    return InvalidArgumentError(ErrorCode.EINVAL, message, ErrorSubsystem.API)


def take_text(call: Any, *args: Any) -> str:
    """Call a function whose last parameter returns text that is to be freed."""
    ret = ffi.new("char **")
    check(call(*args, ret))
    try:
        return text(ret[0])
    finally:
        lib.pvv_free(ret[0])


def integer(value: int, what: str) -> int:
    """A number for C, which says of a wrong type only that it is wrong."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{what} must be an int, not {type(value).__name__}") from None


def unsigned(value: int, bits: int, what: str) -> int:
    """A number for C, where it would not fit silently or raise OverflowError."""
    if not 0 <= integer(value, what) < 1 << bits:
        raise invalid(f"{what} = {value} is out of range")
    return value


def encode(value: str, what: str) -> bytes:
    """Text for C, which cannot hold a NUL."""
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a str, not {type(value).__name__}")
    data = value.encode("utf-8")
    if b"\0" in data:
        raise invalid(f"{what} contains a NUL character")
    return data


def encode_path(value: "str | os.PathLike[str]", what: str) -> bytes:
    """A file's name for C."""
    if not isinstance(value, (str, bytes, os.PathLike)):
        raise TypeError(f"{what} must be a str or a path, not {type(value).__name__}")
    data = os.fsencode(value)
    if b"\0" in data:
        raise invalid(f"{what} contains a NUL character")
    return data
