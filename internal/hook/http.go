package hook

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
)

const (
	maxAnswer = 2 << 10 // bytes of an answer that are read
	// mostLater bounds what a receiver can ask for: an event is worth telling for a day.
	mostLater = time.Hour
)

// client follows no redirect: the specification calls one a failure, and the signed body would go where nobody wanted it. It keeps
// no connection, since events are hours apart.
var client = &http.Client{
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, ForceAttemptHTTP2: true,
		MaxResponseHeaderBytes: 64 << 10, TLSHandshakeTimeout: 10 * time.Second,
	},
}

// post sends the event to the URL.
func (h Hook) post(ctx context.Context, m Message) (string, error) {
	text, err := h.Secrets()
	if err != nil {
		return "", err
	}
	all, err := keys(text)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(m.Body))
	if err != nil {
		return "", fault.Newf(fault.Invalid, opDeliver, "the URL cannot be used")
	}
	now := time.Now()
	req.Header = http.Header{
		"Content-Type": {"application/json"}, "User-Agent": {"SmartDR"},
		"Webhook-Id": {m.ID}, "Webhook-Timestamp": {strconv.FormatInt(now.Unix(), 10)}, "Webhook-Signature": {sign(all, m.ID, now, m.Body)},
	}
	answer, err := client.Do(req)
	if err != nil {
		return "", fault.New(fault.Transient, opDeliver, unreached(err, req.URL))
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil && answer.StatusCode/100 == 2 {
		said = nil // it was taken; what it says of that is of no use
	}
	return judge(answer, string(said))
}

// unreached is why there was no answer, without the URL's path, which is a secret at some receivers.
func unreached(err error, at *url.URL) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return fault.Newf(fault.Transient, at.Scheme+"://"+at.Host, "%w", err)
}

// judge says what an answer means.
func judge(answer *http.Response, said string) (string, error) {
	status := answer.Status
	code := answer.StatusCode
	if code/100 == 2 {
		return status, nil
	}
	e := fault.Newf(fault.Transient, opDeliver, "the answer is %s", status)
	switch {
	case code/100 == 3:
		e.Kind, e.Hint = fault.Invalid, "Redirects are not followed: write the address that it points to."
	case code/100 == 4 && code != http.StatusRequestTimeout && code != http.StatusTooEarly && code != http.StatusTooManyRequests:
		e.Kind, e.Hint = fault.Invalid, "The receiver refuses it: see its own log. It is not tried again."
	}
	var err error = e
	if wait := retryAfter(answer.Header.Get("Retry-After")); wait > 0 && e.Kind == fault.Transient {
		err = &Later{Wait: wait, Err: e}
	}
	return "", &Failure{Output: said, Err: err}
}

// retryAfter reads the header (RFC 9110, 10.2.3); 0 where there is none.
func retryAfter(text string) time.Duration {
	text = strings.TrimSpace(text)
	if n, err := strconv.Atoi(text); err == nil {
		return min(max(0, time.Duration(min(n, 1<<20))*time.Second), mostLater)
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(0, time.Until(at)), mostLater)
}
