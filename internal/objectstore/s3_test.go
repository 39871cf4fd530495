package objectstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
)

func open(t *testing.T, cfg objectstore.S3Config) *objectstore.S3 {
	t.Helper()
	s, err := objectstore.NewS3(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// wantFault checks an error's kind, that its text and hint say the words, and that no secret is in them.
func wantFault(t *testing.T, err error, kind fault.Kind, secret string, words ...string) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind {
		t.Fatalf("got kind %q of %v, want %q", fault.KindOf(err), err, kind)
	}
	text := err.Error() + " / " + fault.HintOf(err)
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q does not say %q", text, w)
		}
	}
	if secret != "" && strings.Contains(text, secret) {
		t.Errorf("%q tells the secret", text)
	}
}

func TestWrongConfigurationIsInvalidWithAHint(t *testing.T) {
	g := devtest.Gateway(t)
	good := g.S3Config()
	for name, c := range map[string]struct {
		change func(*objectstore.S3Config)
		words  []string
	}{
		"no such bucket": {func(c *objectstore.S3Config) { c.Bucket = "elsewhere" }, []string{"create bucket elsewhere"}},
		"wrong secret":   {func(c *objectstore.S3Config) { c.SecretKey = "not-the-secret" }, []string{"check the credentials"}},
		"wrong key":      {func(c *objectstore.S3Config) { c.AccessKey = "nobody" }, []string{"check the credentials"}},
		"wrong region":   {func(c *objectstore.S3Config) { c.Region = "eu-central-9" }, []string{"s3Region"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			c.change(&cfg)
			s := open(t, cfg)
			_, err := s.Put(t.Context(), "k", []byte("x"), objectstore.PutOptions{})
			wantFault(t, err, fault.Invalid, cfg.SecretKey, c.words...)
			_, err = objectstore.Check(t.Context(), s)
			wantFault(t, err, fault.Invalid, cfg.SecretKey, c.words...)
			for _, err := range s.List(t.Context(), "", "") {
				wantFault(t, err, fault.Invalid, cfg.SecretKey, c.words...)
			}
		})
	}
}

func TestConfigurationIsCheckedBeforeItIsUsed(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  objectstore.S3Config
		word string
	}{
		"no bucket":            {objectstore.S3Config{}, "bucket"},
		"half the credentials": {objectstore.S3Config{Bucket: "b", AccessKey: "a"}, "secret key"},
		"endpoint without URL": {objectstore.S3Config{Bucket: "b", Endpoint: "localhost:9000"}, "https://host:port"},
		"password in endpoint": {objectstore.S3Config{Bucket: "b", Endpoint: "http://me:hunter2@h:9000"}, "password"},
		"prefix with slash":    {objectstore.S3Config{Bucket: "b", Prefix: "/x", Endpoint: "http://h:1"}, "slash"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := objectstore.NewS3(t.Context(), c.cfg)
			wantFault(t, err, fault.Invalid, "hunter2", c.word)
		})
	}
}

func TestNoCredentialsAnywhere(t *testing.T) {
	for _, v := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"} {
		t.Setenv(v, "")
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/none")
	s := open(t, objectstore.S3Config{Bucket: "b", Endpoint: "http://127.0.0.1:1"})
	_, err := s.Head(t.Context(), "k")
	wantFault(t, err, fault.Transient, "", "no credentials", "name credentials for bucket b")
}

func TestNobodyListens(t *testing.T) {
	g := devtest.Gateway(t)
	s := devtest.Open(t, g)
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	_, _, err := s.Get(t.Context(), "k")
	wantFault(t, err, fault.Transient, g.S3Config().SecretKey, "connection refused", "check that "+g.S3Config().Endpoint+" answers")
}

func TestAStoreThatComesBack(t *testing.T) {
	g := devtest.Gateway(t)
	s := devtest.Open(t, g)
	if _, err := s.Put(t.Context(), "k", []byte("kept"), objectstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	back := make(chan error, 1)
	go func() { back <- g.Restart(t.Context()) }()
	b, _, err := objectstore.WithRetry(s, objectstore.RetryPolicy{Attempts: 1000, Cap: 20 * time.Millisecond}).Get(t.Context(), "k")
	if err := <-back; err != nil {
		t.Fatal(err)
	}
	if err != nil || string(b) != "kept" {
		t.Errorf("got %q, %v", b, err)
	}
}

// TestAStoreThatHangs has the server take the connection, and the request, and never answer.
func TestAStoreThatHangs(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var held []net.Conn // out of the garbage collector's reach, which would close them
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			held = append(held, c)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-accepting
		for _, c := range held {
			c.Close()
		}
	})
	s := open(t, objectstore.S3Config{Bucket: "b", Endpoint: "http://" + l.Addr().String(), AccessKey: "a", SecretKey: "s3cr3t", PathStyle: true, Stall: 100 * time.Millisecond})
	_, _, err = s.Get(t.Context(), "k")
	wantFault(t, err, fault.Transient, "s3cr3t", "no progress for 100ms")
	_, err = s.Put(t.Context(), "k", make([]byte, 8<<20), objectstore.PutOptions{})
	wantFault(t, err, fault.Transient, "s3cr3t", "no progress for 100ms")

	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("enough")
	cancel(reason)
	_, err = s.Head(ctx, "k")
	wantFault(t, err, fault.Transient, "", "enough")
}

// TestSlowIsNotStalled moves a body for longer than Stall, both ways, with a byte now and then.
func TestSlowIsNotStalled(t *testing.T) {
	const pieces, pause, upload = 12, 500 * time.Millisecond, 64 << 20 // what sockets hold is a small part of it
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			for err := error(nil); err == nil; {
				_, err = io.CopyN(io.Discard, r.Body, upload/pieces)
				time.Sleep(pause) // the slowness that is tried, not a wait for anything
			}
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(pieces*(256<<10)))
		for range pieces {
			_, _ = w.Write(make([]byte, 256<<10)) // the reader notices
			w.(http.Flusher).Flush()
			time.Sleep(pause)
		}
	}))
	t.Cleanup(srv.Close)
	s := open(t, objectstore.S3Config{Bucket: "b", Endpoint: srv.URL, AccessKey: "a", SecretKey: "s", PathStyle: true, Stall: pieces * pause * 2 / 3})
	var both sync.WaitGroup
	both.Go(func() {
		if _, _, err := s.Get(t.Context(), "k"); err != nil {
			t.Error(err)
		}
	})
	if _, err := s.Put(t.Context(), "k", make([]byte, upload), objectstore.PutOptions{}); err != nil {
		t.Error(err)
	}
	both.Wait()
}

// TestAnswersAreJudged has a server answer with what other stores than versitygw are known to say.
func TestAnswersAreJudged(t *testing.T) {
	for _, c := range []struct {
		status int
		code   string
		kind   fault.Kind
		hint   string
	}{
		{404, "NoSuchKey", fault.Missing, ""},
		{404, "NoSuchBucket", fault.Invalid, "create bucket b"},
		{412, "PreconditionFailed", fault.Conflict, ""},
		{409, "ConditionalRequestConflict", fault.Transient, ""},
		{403, "AccessDenied", fault.Invalid, "allow these credentials"},
		{403, "RequestTimeTooSkewed", fault.Invalid, "clock"},
		{403, "QuotaExceeded", fault.Full, "raise its quota"},
		{507, "XMinioStorageFull", fault.Full, "free space"},
		{507, "InsufficientStorage", fault.Full, "free space"},
		{301, "PermanentRedirect", fault.Invalid, "s3Region"},
		{400, "RequestTimeout", fault.Transient, ""},
		{400, "EntityTooLarge", fault.Invalid, ""},
		{416, "InvalidRange", fault.Corrupt, ""},
		{500, "InternalError", fault.Transient, ""},
		{503, "SlowDown", fault.Transient, ""},
		{502, "", fault.Transient, ""},
	} {
		t.Run(fmt.Sprint(c.status, c.code), func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				if c.code != "" {
					fmt.Fprintf(w, "<Error><Code>%s</Code><Message>m</Message></Error>", c.code)
				}
			}))
			defer srv.Close()
			s := open(t, objectstore.S3Config{Bucket: "b", Endpoint: srv.URL, AccessKey: "a", SecretKey: "s3cr3t", PathStyle: true})
			_, _, err := s.Get(t.Context(), "k")
			wantFault(t, err, c.kind, "s3cr3t", c.code, c.hint, "get object k")
		})
	}
}

func TestADownloadThatIsCutShortIsNotAnObject(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write(make([]byte, 400)) // and the connection ends
	}))
	defer srv.Close()
	s := open(t, objectstore.S3Config{Bucket: "b", Endpoint: srv.URL, AccessKey: "a", SecretKey: "s", PathStyle: true})
	_, _, err := s.Get(t.Context(), "k")
	wantFault(t, err, fault.Transient, "", "EOF")
}

func TestCheck(t *testing.T) {
	whole := devtest.Store(t)
	s := objectstore.Sub(whole, objectstore.Root)
	first, err := objectstore.Check(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	again, err := objectstore.Check(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	other, err := objectstore.Check(t.Context(), objectstore.Sub(whole, "other/"+objectstore.Root))
	if err != nil {
		t.Fatal(err)
	}
	if first.ID == "" || again.ID != first.ID || other.ID == first.ID {
		t.Errorf("markers %v, %v and %v: want the first two alike, the third not", first, again, other)
	}
	for i := range s.List(t.Context(), "", "") {
		if i.Key != objectstore.MarkerKey {
			t.Errorf("Check leaves %s behind", i.Key)
		}
	}
	put(t, s, objectstore.MarkerKey, `{"format":9}`)
	_, err = objectstore.Check(t.Context(), s)
	wantFault(t, err, fault.Invalid, "", "format 9")
	put(t, s, objectstore.MarkerKey, `my notes`)
	_, err = objectstore.Check(t.Context(), s)
	wantFault(t, err, fault.Invalid, "", "choose another bucket")
	_, err = objectstore.Check(t.Context(), &unconditional{s, "absent"})
	wantFault(t, err, fault.Invalid, "", "If-None-Match", "conditional writes")
	_, err = objectstore.Check(t.Context(), &unconditional{s, "match"})
	wantFault(t, err, fault.Invalid, "", "ignores If-Match")
}

// unconditional ignores one of the conditions, as some object stores do.
type unconditional struct {
	objectstore.Store
	ignore string
}

func (u *unconditional) Put(ctx context.Context, key string, body []byte, opts objectstore.PutOptions) (objectstore.Info, error) {
	if u.ignore == "absent" {
		opts.IfAbsent = false
	}
	if u.ignore == "match" {
		opts.IfMatch = ""
	}
	return u.Store.Put(ctx, key, body, opts)
}

func put(t *testing.T, s objectstore.Store, key, body string) {
	t.Helper()
	if _, err := s.Put(t.Context(), key, []byte(body), objectstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}
