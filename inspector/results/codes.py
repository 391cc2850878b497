"""What the codes of verdicts and failures mean, and what to do about failures, in words."""

from __future__ import annotations

from inspector.types import FailureCode, Reason

REASONS = {
    Reason.MODEL: "the probability lies clearly on one side",
    Reason.NEAR_THRESHOLD: "the probability lies between the thresholds",
    Reason.OUT_OF_DISTRIBUTION: "the photo shows no concrete as the model knows it: its "
    "probability means nothing",
    Reason.DOWNSCALED: "the photo was shrunk more than four times, where a thin crack may vanish",
    Reason.SCALE: "the photo cannot show the crack width asked for, or its scale is not known",
    Reason.PREVIEW: "only the small preview of a camera raw photo could be read",
}
FAILURES = {
    FailureCode.EMPTY: "the file has no bytes",
    FailureCode.NOT_AN_IMAGE: "the content is no image, whatever the name says",
    FailureCode.TRUNCATED: "the image data ends too early",
    FailureCode.CORRUPT: "the image data cannot be decoded",
    FailureCode.UNSUPPORTED: "a real image, in a format that is not supported, or an archive",
    FailureCode.TOO_LARGE: "more pixels or bytes than the limits allow",
    FailureCode.PERMISSION: "the file may not be read",
    FailureCode.VANISHED: "the file was gone when it was its turn",
    FailureCode.NOT_A_FILE: "a pipe, socket or device with the name of an image",
    FailureCode.IO_ERROR: "the storage failed",
    FailureCode.CHANGED: "the file was written to while it was read",
    FailureCode.DECODER_CRASH: "the file ended the process that decoded it, twice",
    FailureCode.TIMEOUT: "reading and decoding took too long",
}
REMEDIES = {
    FailureCode.EMPTY: "copy it again from the camera or card",
    FailureCode.NOT_AN_IMAGE: "nothing to do if it is none; if a viewer shows a photo, report this",
    FailureCode.TRUNCATED: "copy it again from the camera or card",
    FailureCode.CORRUPT: "copy it again; if it opens elsewhere, save it as JPEG or PNG",
    FailureCode.UNSUPPORTED: "install or unpack what is named beside it, if anything is (inspector "
    "doctor lists what is readable here); else convert it to JPEG, PNG or TIFF",
    FailureCode.TOO_LARGE: "cut it into pieces, or scan with a higher --max-pixels or --max-bytes",
    FailureCode.PERMISSION: "give the user who scans the right to read it",
    FailureCode.VANISHED: "see that the storage is mounted",
    FailureCode.NOT_A_FILE: "nothing to do: it is no photo",
    FailureCode.IO_ERROR: "see that the storage is well and mounted",
    FailureCode.CHANGED: "scan again when nobody writes to it",
    FailureCode.DECODER_CRASH: "open it in a viewer and save it anew",
    FailureCode.TIMEOUT: "copy it to a faster disk, or scan with a higher --max-seconds",
}
"""What to do, before `inspector scan --retry-failed`."""
