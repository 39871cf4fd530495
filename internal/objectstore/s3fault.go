package objectstore

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	"github.com/smartdr/smartdr/internal/fault"
)

// codes maps S3's error codes (API reference, "List of error codes"; and those of MinIO, Ceph and versitygw) to what
// can be done about them. Codes that are not here are judged by their HTTP status.
var codes = map[string]fault.Kind{
	"NoSuchKey":          fault.Missing,
	"NotFound":           fault.Missing,
	"PreconditionFailed": fault.Conflict,
	// Two conditional writes met and this one was put off: nobody has lost yet, the next attempt decides.
	"ConditionalRequestConflict": fault.Transient,
	"OperationAborted":           fault.Transient,

	"NoSuchBucket": fault.Invalid, "InvalidBucketName": fault.Invalid,
	"AccessDenied": fault.Invalid, "AllAccessDisabled": fault.Invalid,
	"InvalidAccessKeyId": fault.Invalid, "SignatureDoesNotMatch": fault.Invalid, "InvalidToken": fault.Invalid, "ExpiredToken": fault.Invalid, "XAdminUserNotFound": fault.Invalid,
	"RequestTimeTooSkewed": fault.Invalid,
	"PermanentRedirect":    fault.Invalid, "AuthorizationHeaderMalformed": fault.Invalid, "IllegalLocationConstraintException": fault.Invalid,
	"InvalidObjectState": fault.Invalid,

	"RequestTimeout": fault.Transient, "IncompleteBody": fault.Transient, "BadDigest": fault.Transient,
	"XAmzContentSHA256Mismatch": fault.Transient, "TemporaryRedirect": fault.Transient,

	"InvalidRange": fault.Corrupt,

	"InsufficientStorage": fault.Full, "QuotaExceeded": fault.Full, "XMinioStorageFull": fault.Full, "XMinioAdminBucketQuotaExceeded": fault.Full,
}

func statusKind(status int) fault.Kind {
	switch status {
	case http.StatusNotFound:
		return fault.Missing
	case http.StatusPreconditionFailed:
		return fault.Conflict
	case http.StatusRequestedRangeNotSatisfiable:
		return fault.Corrupt
	case http.StatusInsufficientStorage:
		return fault.Full
	case http.StatusMovedPermanently, http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return fault.Invalid
	}
	return fault.Transient
}

// judge gives a store's answer its kind and hint. status 0 means that there is only a code.
func judge(op, bucket, code string, status int, cause error) *fault.Error {
	kind, known := codes[code]
	if !known {
		kind = statusKind(status)
	}
	f := fault.New(kind, op, cause)
	if h := hint(kind, code, status, bucket); h != "" {
		return f.WithHint("%s", h)
	}
	return f
}

func hint(kind fault.Kind, code string, status int, bucket string) string {
	switch {
	case kind == fault.Full:
		return fmt.Sprintf("free space for bucket %s or raise its quota", bucket)
	case kind != fault.Invalid:
		return ""
	case code == "NoSuchBucket", code == "InvalidBucketName":
		return fmt.Sprintf("create bucket %s, or correct its name in the configuration", bucket)
	case code == "RequestTimeTooSkewed":
		return "set this host's clock"
	case code == "PermanentRedirect", code == "AuthorizationHeaderMalformed", code == "IllegalLocationConstraintException", status == http.StatusMovedPermanently:
		return fmt.Sprintf("bucket %s is in another S3 region; correct s3Region in the configuration", bucket)
	case code == "InvalidObjectState":
		return "the object was moved to an archive class; restore it, and exclude the prefix from that lifecycle rule"
	case code == "AccessDenied", code == "AllAccessDisabled":
		return fmt.Sprintf("allow these credentials to get, put, list and delete objects in bucket %s", bucket)
	case status == http.StatusUnauthorized, status == http.StatusForbidden, code == "InvalidAccessKeyId", code == "SignatureDoesNotMatch", code == "InvalidToken", code == "ExpiredToken", code == "XAdminUserNotFound":
		return fmt.Sprintf("check the credentials for bucket %s, and that they may get, put, list and delete objects", bucket)
	}
	return ""
}

// fault judges what the SDK returned for a request under watch.
func (s *S3) fault(w *watch, op string, err error) error {
	var creds *credentialsError
	var api smithy.APIError
	var resp *awshttp.ResponseError
	switch {
	case errors.Is(context.Cause(w.ctx), errStalled):
		return fault.Newf(fault.Transient, op, "%w for %s", errStalled, w.after).WithHint("check that %s answers", s.place())
	case w.ctx.Err() != nil:
		return fault.New(fault.Transient, op, context.Cause(w.ctx))
	case errors.As(err, &creds):
		return fault.New(fault.Transient, op, creds).WithHint("name credentials for bucket %s: a profile, a file, two variables, or a role of this host", s.cfg.Bucket)
	case errors.As(err, &api):
		status := 0
		if errors.As(err, &resp) {
			status = resp.HTTPStatusCode()
		}
		return judge(op, s.cfg.Bucket, api.ErrorCode(), status, &answer{api, status})
	case errors.As(err, &resp) && resp.HTTPStatusCode() != 0: // the SDK uses it for requests without an answer too
		return judge(op, s.cfg.Bucket, "", resp.HTTPStatusCode(), resp.Err)
	}
	return fault.New(fault.Transient, op, connectionCause(err)).WithHint("check that %s answers", s.place())
}

// place names the store without its credentials.
func (s *S3) place() string {
	if s.cfg.Endpoint == "" {
		return "S3 in region " + s.cfg.Region
	}
	return s.cfg.Endpoint
}

// connectionCause drops the SDK's and net/http's words around what went wrong with the connection.
func connectionCause(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// answer is what the store said, shorter than the SDK says it.
type answer struct {
	api    smithy.APIError
	status int
}

func (a *answer) Error() string {
	text := a.api.ErrorCode()
	if m := strings.TrimSpace(a.api.ErrorMessage()); m != "" && m != text {
		text += ": " + m
	}
	if a.status == 0 {
		return text
	}
	return fmt.Sprintf("%s (HTTP %d)", text, a.status)
}

func (a *answer) Unwrap() error { return a.api }
