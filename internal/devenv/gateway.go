package devenv

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartdr/smartdr/internal/objectstore"
)

// GatewayOptions describe an object store. The zero value of all but Dir is a choice.
type GatewayOptions struct {
	Dir                  string // its folder: objects in data/, the log beside it
	Name                 string // for people; default "versitygw"
	Bucket               string // default "smartdr"
	Port                 int    // default: a free one
	AccessKey, SecretKey string // default: random
	Outlive              bool   // it lives on when this process ends
}

// Gateway is an S3 server in a folder: versitygw.
type Gateway struct {
	*Process
	opts GatewayOptions
}

// StartGateway starts an object store with an empty bucket, or with what is in the folder already.
func StartGateway(ctx context.Context, opts GatewayOptions) (*Gateway, error) {
	if err := opts.setDefaults(); err != nil {
		return nil, err
	}
	cmd, err := opts.command()
	if err != nil {
		return nil, err
	}
	g := &Gateway{opts: opts}
	if g.Process, err = cmd.Start(ctx); err != nil {
		return nil, err
	}
	if err := g.ensureBucket(ctx); err != nil {
		_ = g.Kill() // the first error says why
		return nil, err
	}
	return g, nil
}

func (o *GatewayOptions) setDefaults() (err error) {
	if o.Name == "" {
		o.Name = "versitygw"
	}
	if o.Bucket == "" {
		o.Bucket = "smartdr"
	}
	if o.AccessKey == "" {
		o.AccessKey, o.SecretKey = rand.Text(), rand.Text()
	}
	if o.Port == 0 {
		o.Port, err = FreePort()
	}
	return err
}

func (o *GatewayOptions) command() (Command, error) {
	path, err := Tool("versitygw")
	if err != nil {
		return Command{}, err
	}
	args, err := o.args()
	return Command{
		Name: o.Name, Path: path, Args: args,
		Env:     []string{"ROOT_ACCESS_KEY=" + o.AccessKey, "ROOT_SECRET_KEY=" + o.SecretKey},
		LogFile: filepath.Join(o.Dir, "versitygw.log"), DieWithParent: !o.Outlive,
		Ready: func(ctx context.Context) error { return answersHTTP(ctx, fmt.Sprintf("http://127.0.0.1:%d/", o.Port)) },
	}, err
}

func (o *GatewayOptions) args() ([]string, error) {
	data := filepath.Join(o.Dir, "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return nil, err
	}
	args := []string{"--port", fmt.Sprintf("127.0.0.1:%d", o.Port), "--keep-alive", "--quiet", "posix"}
	if !hasXattr(data) {
		meta := filepath.Join(o.Dir, "meta")
		if err := os.MkdirAll(meta, 0o755); err != nil {
			return nil, err
		}
		args = append(args, "--sidecar", meta)
	}
	return append(args, data), nil
}

// hasXattr reports whether files in dir can have extended attributes, where versitygw keeps ETags. Not all of tmpfs can.
func hasXattr(dir string) bool { return unix.Setxattr(dir, "user.smartdr", []byte("1"), 0) == nil }

// answersHTTP returns nil when anything at all comes back.
func answersHTTP(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// S3Config returns how to reach the bucket. Keys have no prefix.
func (g *Gateway) S3Config() objectstore.S3Config {
	return objectstore.S3Config{
		Endpoint: "http://" + g.Addr(), Bucket: g.opts.Bucket, PathStyle: true, Region: "us-east-1",
		AccessKey: g.opts.AccessKey, SecretKey: g.opts.SecretKey,
	}
}

// Addr returns host and port.
func (g *Gateway) Addr() string { return fmt.Sprintf("127.0.0.1:%d", g.opts.Port) }

// Port returns the port.
func (g *Gateway) Port() int { return g.opts.Port }

// DataDir returns the folder in which each object is a file, at <bucket>/<key>.
func (g *Gateway) DataDir() string { return filepath.Join(g.opts.Dir, "data") }

func (g *Gateway) ensureBucket(ctx context.Context) error {
	s, err := objectstore.NewS3(ctx, g.S3Config())
	if err != nil {
		return err
	}
	defer s.Close()
	return s.EnsureBucket(ctx)
}
