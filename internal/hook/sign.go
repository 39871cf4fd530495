package hook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
)

// The lengths that a key may have, in bytes, and what its text begins with (Standard Webhooks 1.0.0, "Signature scheme").
const (
	minKey    = 24
	maxKey    = 64
	keyPrefix = "whsec_"
)

const keyHint = "Make one, and give it to the receiver too: echo whsec_$(openssl rand -base64 32)"

// keys reads the secrets, which stand between white space. Errors are fault.Invalid and hold nothing of them.
func keys(text string) ([][]byte, error) {
	var all [][]byte
	for _, s := range strings.Fields(text) {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s, keyPrefix))
		if err != nil {
			return nil, fault.Newf(fault.Invalid, "read the hook's secret", "it is not whsec_ and base64").WithHint("%s", keyHint)
		}
		if len(key) < minKey || len(key) > maxKey {
			return nil, fault.Newf(fault.Invalid, "read the hook's secret", "it has %d bytes; the specification wants %d to %d", len(key), minKey, maxKey).WithHint("%s", keyHint)
		}
		all = append(all, key)
	}
	if len(all) == 0 {
		return nil, fault.Newf(fault.Invalid, "read the hook's secret", "it is empty").WithHint("%s", keyHint)
	}
	return all, nil
}

// sign returns the value of webhook-signature: a signature by each key over id, time and body.
func sign(keys [][]byte, id string, at time.Time, body []byte) string {
	signed := append([]byte(id+"."+strconv.FormatInt(at.Unix(), 10)+"."), body...)
	all := make([]string, len(keys))
	for i, key := range keys {
		mac := hmac.New(sha256.New, key)
		mac.Write(signed)
		all[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return strings.Join(all, " ")
}

// CheckSecret returns why a hook's secret cannot be used, or nil. It is for a look before anything happens.
func (h Hook) CheckSecret() error {
	if h.URL == "" {
		return nil
	}
	text, err := h.Secrets()
	if err == nil {
		_, err = keys(text)
	}
	return err
}
