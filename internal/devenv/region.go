package devenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	enums "go.temporal.io/api/enums/v1"
	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/internal/postgres"
)

// Region is a place that fails as one, on this host: an object store, a worker, and the servers that the worker makes.
type Region struct {
	Name    string
	Gateway *Gateway
	Worker  *Process // nil until StartWorker

	dir       string
	firstPort int    // of the range of ports that servers get
	config    string // smartdr.yaml
	outlive   bool
}

// portsPerRegion is how many servers a region's worker can bring up.
const portsPerRegion = 10

func (e *Env) newRegion(ctx context.Context, name string) (*Region, error) {
	r := &Region{Name: name, dir: filepath.Join(e.Dir, "regions", name), outlive: e.opts.Outlive, config: e.ConfigPath()}
	var err error
	if r.firstPort, err = FreePorts(portsPerRegion); err != nil {
		return nil, err
	}
	r.Gateway, err = StartGateway(ctx, GatewayOptions{Dir: filepath.Join(r.dir, "store"), Name: "the object store of " + name, Outlive: e.opts.Outlive})
	if err != nil {
		return nil, err
	}
	return r, os.WriteFile(r.credentialsFile(), r.credentials(), 0o600)
}

// credentialsFile is read by the workers of both regions and by the CLI, as ~/.aws/credentials would be.
func (r *Region) credentialsFile() string { return filepath.Join(r.dir, "s3.credentials") }

func (r *Region) credentials() []byte {
	c := r.Gateway.S3Config()
	return fmt.Appendf(nil, "[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", c.AccessKey, c.SecretKey)
}

// DataDir is where the region's worker keeps the servers that it makes.
func (r *Region) DataDir() string { return filepath.Join(r.dir, "servers") }

// StartWorker starts the region's worker and waits until it polls its task queue.
func (r *Region) StartWorker(ctx context.Context, t *Temporal) error {
	path, err := Tool("smartdr-worker")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(r.DataDir(), 0o755); err != nil {
		return err
	}
	started := time.Now()
	r.Worker, err = Command{
		Name: "the worker of " + r.Name, Path: path, Args: []string{"--config", r.config, "--region", r.Name},
		LogFile: filepath.Join(r.dir, "worker.log"), DieWithParent: !r.outlive,
		Ready: func(ctx context.Context) error { return t.polled(ctx, "smartdr-"+r.Name, started) },
	}.Start(ctx)
	return err
}

// polled returns nil when a worker has asked for activities of the queue since then.
func (t *Temporal) polled(ctx context.Context, queue string, since time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c, err := t.Dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	d, err := c.DescribeTaskQueue(ctx, queue, enums.TASK_QUEUE_TYPE_ACTIVITY)
	if err != nil {
		return err
	}
	for _, p := range d.GetPollers() {
		if p.GetLastAccessTime().AsTime().After(since) {
			return nil
		}
	}
	return errors.New("no worker asks for work on " + queue)
}

// Servers returns the servers that the region's worker has made.
func (r *Region) Servers() ([]*postgres.Server, error) { return serversBelow(r.DataDir()) }

// serversBelow finds the descriptions of servers in a folder, at any depth.
func serversBelow(dir string) ([]*postgres.Server, error) {
	var all []*postgres.Server
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		switch {
		case errors.Is(err, os.ErrNotExist):
			return nil // not made yet, or going away
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "data" || d.Name() == "tablespaces"):
			return filepath.SkipDir
		case d.Name() != "instance.json":
			return nil
		}
		s, err := postgres.Load(filepath.Dir(path))
		if err != nil {
			return err
		}
		all = append(all, s)
		return nil
	})
	return all, err
}

// Kill ends everything in the region with SIGKILL at once, as the loss of a data centre would: object store, worker, servers.
func (r *Region) Kill(ctx context.Context) error {
	var g errgroup.Group
	g.Go(r.Gateway.Kill)
	if r.Worker != nil {
		g.Go(r.Worker.Kill)
	}
	servers, err := r.Servers()
	for _, s := range servers {
		g.Go(func() error { return s.Kill(ctx) })
	}
	return errors.Join(err, g.Wait())
}

// StoredBytes returns the size of all objects in the region's bucket.
func (r *Region) StoredBytes() (n int64, err error) {
	err = filepath.WalkDir(r.Gateway.DataDir(), func(_ string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		fi, err := d.Info()
		if errors.Is(err, os.ErrNotExist) {
			return nil // merged away meanwhile
		}
		if err == nil {
			n += fi.Size()
		}
		return err
	})
	return n, err
}

// yaml describes the region for smartdr.yaml.
func (r *Region) yaml(pgDirs []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  %s:\n", r.Name)
	fmt.Fprintf(&b, "    provider: this host\n")
	fmt.Fprintf(&b, "    bucket: %s\n    endpoint: %s\n    s3Region: us-east-1\n    pathStyle: true\n", r.Gateway.opts.Bucket, r.Gateway.S3Config().Endpoint)
	fmt.Fprintf(&b, "    credentials: {file: %s}\n", r.credentialsFile())
	fmt.Fprintf(&b, "    worker:\n      dataDir: %s\n      listen: 127.0.0.1\n      ports: %d-%d\n", r.DataDir(), r.firstPort, r.firstPort+portsPerRegion-1)
	if len(pgDirs) > 0 {
		fmt.Fprintf(&b, "      pgBinDirs: [%s]\n", strings.Join(pgDirs, ", "))
	}
	return b.String()
}
