"""What an S3 server's refusals and a broken connection mean, in words for an operator. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from xml.etree.ElementTree import ParseError

from minio.error import InvalidResponseError, S3Error, ServerError
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    SSLError,
    TimeoutError,
)

from .base import StoreError

WRONG_KEY = {"InvalidAccessKeyId", "InvalidTokenId", "InvalidClientTokenId", "XAdminUserNotFound"}
WRONG_SECRET = {"SignatureDoesNotMatch"}
OVER = {"ExpiredToken", "TokenRefreshRequired"}
FULL = {
    *("XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "XMinioDiskFull", "QuotaExceeded"),
    *("InsufficientStorage", "EntityTooLargeForQuota", "StorageFull"),
}
SKEWED = {"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"}
REGION = {"AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException", "Redirect"}
DAMAGED = {"BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "InvalidDigest", "IncompleteBody"}
BUSY = {
    *("SlowDown", "SlowDownRead", "SlowDownWrite", "ServiceUnavailable", "InternalError", "RequestTimeout"),
    *("XMinioServerNotInitialized", "OperationAborted", "ConditionalRequestConflict", "ServerBusy", "TooManyRequests"),
    *("XMinioReadQuorum", "XMinioWriteQuorum", "XMinioBackendDown", "InternalServerError", "BucketAlreadyExists"),
}
BUSY_STATUS = {408, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Place:
    """What the explanations name: the server, the bucket, and where the credentials came from."""

    endpoint: str
    bucket: str
    credentials: str


def code_of(error: Exception) -> str:
    """S3's code for a refusal; ``HTTP 503`` where the server gave none; empty for anything else."""
    if isinstance(error, S3Error):
        return error.code or ""
    status = status_of(error)
    return f"HTTP {status}" if status else ""


def status_of(error: Exception) -> int:
    """The HTTP status of a refusal; 0 where there was no answer."""
    if isinstance(error, S3Error):
        return int(error.response.status) if error.response is not None else 0
    if isinstance(error, ServerError):
        return error.status_code
    if isinstance(error, InvalidResponseError):
        return int(error._code)
    return 0


def may_pass(error: Exception) -> bool:
    """Whether the same request may be taken a moment later."""
    if isinstance(error, (ParseError, ValueError)):
        return False
    if isinstance(error, HTTPError):
        return not isinstance(inner(error), SSLError)
    code = code_of(error)
    if code in FULL:
        return False
    return code in BUSY or code in DAMAGED or status_of(error) in BUSY_STATUS


def inner(error: HTTPError) -> Exception:
    """What urllib3 wrapped."""
    if isinstance(error, MaxRetryError) and error.reason is not None:
        return error.reason
    return error


def explain(what: str, error: Exception, place: Place) -> StoreError:
    """What can't be done, why, and what to do. ``what`` reads as in "Can't store 'a/b'"."""
    return StoreError(f"Can't {what}: {_reason(error, place)}")


def _reason(error: Exception, place: Place) -> str:
    store = f"the object store at {place.endpoint}"
    if isinstance(error, HTTPError):
        return _no_answer(inner(error), store)
    if isinstance(error, ParseError):
        return f"what answers at {place.endpoint} is no S3 server ({error}). Correct the store's URL."
    code, status = code_of(error), status_of(error)
    said = (error.message if isinstance(error, S3Error) else str(error)) or code
    said = said.rstrip(".")[:300]
    if code in WRONG_KEY:
        return f"{store} does not know the access key. Correct the credentials in {place.credentials}."
    if code in WRONG_SECRET:
        return f"{store} refuses the secret key. Correct the credentials in {place.credentials}."
    if code in OVER:
        return f"the session of these credentials is over. Renew those in {place.credentials}."
    if code in SKEWED:
        return f"the clock of {store} and this machine's are {_apart(error)} apart. Set the one that is wrong (NTP)."
    if code == "AccessDenied" or (status == 403 and not isinstance(error, InvalidResponseError)):
        return (
            f"{store} does not allow it ({said}). Give the access key in {place.credentials} the right to list, read, "
            f"write and delete in the bucket {place.bucket!r}."
        )
    if code == "NoSuchBucket":
        return f"{store} has no bucket {place.bucket!r}. Make it, or correct the store's URL."
    if code in FULL or status == 507:
        return f"{store} is full ({said}). Delete old jobs, or give it more room or a larger quota."
    if code in REGION:
        return f"the bucket {place.bucket!r} lies in another region ({said}). Set the store's region."
    if code in DAMAGED:
        return f"the bytes did not arrive at {store} as they were sent ({said}). Look for what damages them on the way."
    if code in ("EntityTooLarge", "KeyTooLongError"):
        return f"it is too large for {store} ({said})."
    if code in (
        "XMinioParentIsObject",
        "ObjectParentIsFile",
        "ExistingObjectIsDirectory",
        "XMinioObjectExistsAsDirectory",
    ):
        return "another object's key is its folder, or the other way round."
    if may_pass(error):
        return f"{store} is busy or unwell ({said}). Try again; if it stays so, look into its log."
    if isinstance(error, InvalidResponseError):
        return (
            f"what answers at {place.endpoint} does not speak S3 as it should (status {status}: {said!r}). "
            "Correct the store's URL."
        )
    return f"{store} refused it ({code}: {said})."


def _no_answer(error: Exception, store: str) -> str:
    if isinstance(error, SSLError):
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return (
                f"the certificate of {store} is not trusted ({error}). Name the file of the authority that signed it."
            )
        return f"{store} does not speak TLS as expected ({error}). Is the URL's scheme right (s3+http, s3+https)?"
    if isinstance(error, NameResolutionError):
        return f"{store} can't be reached: its name is unknown here. Correct the store's URL, or the name service."
    if isinstance(error, NewConnectionError):
        why = str(error.__cause__ or error).rsplit("] ", 1)[-1].lower()
        return f"{store} can't be reached ({why}). Check that it runs and that the network lets us."
    if isinstance(error, (ConnectTimeoutError, TimeoutError)):
        return f"{store} can't be reached: it does not answer in time. Check that it runs and that the network lets us."
    return f"the connection to {store} broke ({error}). Check that it runs and that the network lets us."


def _apart(error: Exception) -> str:
    """How far the clocks are apart, where the answer tells the server's."""
    told = error.response.headers.get("date") if isinstance(error, S3Error) and error.response is not None else None
    if not told:
        return "too far"
    try:
        seconds = abs((datetime.now(timezone.utc) - parsedate_to_datetime(told)).total_seconds())
    except (ValueError, TypeError):
        return "too far"
    return f"{seconds / 60:.0f} minutes" if seconds > 120 else "too far"
