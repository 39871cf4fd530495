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
	Worker  *Process // of the first host; nil until StartWorker
	Hosts   []*Host  // at least one

	dir     string
	config  string // smartdr.yaml
	outlive bool
}

// Host stands for a machine of a region: a worker with a name, a data folder and ports of its own, and the servers that it
// makes.
type Host struct {
	Name   string
	Region *Region
	Worker *Process // nil until it is started

	dir       string
	firstPort int // of the range of ports that servers get
}

// portsPerHost is how many servers a host's worker can bring up.
const portsPerHost = 10

func (e *Env) newRegion(ctx context.Context, name string) (*Region, error) {
	r := &Region{Name: name, dir: filepath.Join(e.Dir, "regions", name), outlive: e.opts.Outlive, config: e.ConfigPath()}
	for i := range max(1, e.opts.Hosts[name]) {
		port, err := FreePorts(portsPerHost)
		if err != nil {
			return nil, err
		}
		host := &Host{Name: fmt.Sprintf("%s-%d", name, i+1), Region: r, dir: r.DataDir(), firstPort: port}
		if i > 0 {
			host.dir = filepath.Join(r.dir, "servers-"+host.Name)
		}
		r.Hosts = append(r.Hosts, host)
	}
	var err error
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

// DataDir is where the worker of the region's first host keeps the servers that it makes.
func (r *Region) DataDir() string { return filepath.Join(r.dir, "servers") }

// StartWorker starts the workers of the region's hosts and waits until they poll their task queues.
func (r *Region) StartWorker(ctx context.Context, t *Temporal) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, h := range r.Hosts {
		g.Go(func() error { return h.Start(ctx, t) })
	}
	err := g.Wait()
	r.Worker = r.Hosts[0].Worker
	return err
}

// Start starts the host's worker and waits until it polls its task queue.
func (h *Host) Start(ctx context.Context, t *Temporal) (err error) {
	path, err := Tool("smartdr-worker")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(h.dir, 0o755); err != nil {
		return err
	}
	started := time.Now()
	h.Worker, err = Command{
		Name: "the worker of " + h.Name, Path: path, Args: h.args(),
		LogFile: filepath.Join(h.Region.dir, h.logName()), DieWithParent: !h.Region.outlive,
		Ready: func(ctx context.Context) error { return t.polled(ctx, "smartdr-"+h.Region.Name+"/"+h.Name, started) },
	}.Start(ctx)
	return err
}

// args say what differs from host to host of a region, as an operator would who gives them all one file.
func (h *Host) args() []string {
	return []string{"--config", h.Region.config, "--region", h.Region.Name, "--host", h.Name, "--data-dir", h.dir,
		"--ports", fmt.Sprintf("%d-%d", h.firstPort, h.firstPort+portsPerHost-1)}
}

func (h *Host) logName() string {
	if h == h.Region.Hosts[0] {
		return "worker.log"
	}
	return "worker-" + h.Name + ".log"
}

// DataDir is where the host's worker keeps the servers that it makes.
func (h *Host) DataDir() string { return h.dir }

// Servers returns the servers that the host's worker has made.
func (h *Host) Servers() ([]*postgres.Server, error) { return serversBelow(h.dir) }

// Kill ends the host's worker and servers with SIGKILL at once, as the loss of a machine would.
func (h *Host) Kill(ctx context.Context) error {
	var g errgroup.Group
	if h.Worker != nil {
		g.Go(h.Worker.Kill)
	}
	servers, err := h.Servers()
	for _, s := range servers {
		g.Go(func() error { return s.Kill(ctx) })
	}
	return errors.Join(err, g.Wait())
}

// polled returns nil when a worker has asked for activities of the queue since then.
func (t *Temporal) polled(ctx context.Context, queue string, since time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, patient)
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

// Servers returns the servers that the region's workers have made.
func (r *Region) Servers() (all []*postgres.Server, err error) {
	for _, h := range r.Hosts {
		servers, herr := h.Servers()
		all, err = append(all, servers...), errors.Join(err, herr)
	}
	return all, err
}

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

// Kill ends everything in the region with SIGKILL at once, as the loss of a data centre would: object store, workers, servers.
func (r *Region) Kill(ctx context.Context) error {
	var g errgroup.Group
	g.Go(r.Gateway.Kill)
	for _, h := range r.Hosts {
		g.Go(func() error { return h.Kill(ctx) })
	}
	return g.Wait()
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
	fmt.Fprintf(&b, "    worker:\n      dataDir: %s\n      listen: 127.0.0.1\n      ports: %d-%d\n", r.DataDir(), r.Hosts[0].firstPort, r.Hosts[0].firstPort+portsPerHost-1)
	if len(pgDirs) > 0 {
		fmt.Fprintf(&b, "      pgBinDirs: [%s]\n", strings.Join(pgDirs, ", "))
	}
	return b.String()
}
