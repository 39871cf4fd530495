package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"github.com/smartdr/smartdr/internal/fault"
)

// format is the only format of documents that this version reads and writes.
const format = 1

// errFormat marks documents of a format that this version does not know.
var errFormat = errors.New("unknown format")

// decode reads the document that lies at key. Errors are fault.Corrupt when it is not what was written, and
// fault.Invalid with errFormat in the tree when a newer version wrote it.
func decode(key string, b []byte, into any) error {
	op := "read " + key
	var head struct {
		Format *int `json:"format"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return fault.Newf(fault.Corrupt, op, "the document of %d bytes is damaged: %w", len(b), err).WithHint(corruptHint)
	}
	if head.Format == nil {
		return fault.Newf(fault.Corrupt, op, "the document has no format number").WithHint(corruptHint)
	}
	if *head.Format != format {
		return fault.Newf(fault.Invalid, op, "%w: the document is of format %d, and this version of smartdr knows format %d", errFormat, *head.Format, format).
			WithHint("Use the version of smartdr that wrote it, or a newer one.")
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fault.Newf(fault.Corrupt, op, "the document is damaged: %w", err).WithHint(corruptHint)
	}
	return nil
}

const corruptHint = "Restore the object from the other region's bucket, or from an older version of it if the bucket keeps versions."

// decodeStrict is decode, and refuses fields that would be lost if the document were written back.
func decodeStrict(key string, b []byte, into any) error {
	if err := decode(key, b, into); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil && err != io.EOF {
		return fault.Newf(fault.Invalid, "change "+key, "a newer version of smartdr wrote it (%w), and this one would lose what it does not know", err).
			WithHint("Use the newest version of smartdr that works on this group.")
	}
	return nil
}

// former returns what a document says that is about to be replaced, and whether it says anything: one that is not there or is damaged says
// nothing. Errors are decode's other ones.
func former[T any](key string, there []byte) (before T, says bool, err error) {
	if there == nil {
		return before, false, nil
	}
	if err = decode(key, there, &before); err == nil {
		return before, true, nil
	}
	if fault.Is(err, fault.Corrupt) {
		err = nil
	}
	return *new(T), false, err
}

// encode writes a document for people to read, too.
func encode(v any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, fault.New(fault.Invalid, "write document", err)
	}
	return append(b, '\n'), nil
}
