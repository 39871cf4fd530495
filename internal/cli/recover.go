package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
	"github.com/smartdr/smartdr/internal/config"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

const recoverLong = `Take workspace groups over into an empty Temporal, from nothing but one region's bucket, and fail them over to that region.

It is for the day on which the primary region is lost and the control plane with it. What is needed is that bucket with its
keys (in the environment, never on the command line), a Temporal, which may be empty, and a worker of the region. Where no
smartdr.yaml is there, --bucket says where the bucket is: the file is then written, and the command that starts the worker
is shown and waited for.

From then on only this control plane acts for the groups. The old one, should it come back, notices that by the bucket: its
workers ship nothing any more, its operations are refused, its Replication ends. Servers follow the bucket as always.

The bucket that decides over a group is that of the region which did not serve. If it is another one than this region's, and
cannot be asked, the group is left alone; --force lets this region's bucket decide by what it holds. Then nothing promises
any more that nobody serves elsewhere: what was decided there is not known here. Epochs and revisions jump, so that when the
two meet again both notice, neither is merged into the other, and a person has to choose.`

const recoverExample = `  smartdr recover --region west --preview                  # which groups are there, what would be lost?
  smartdr recover --region west                            # asks, then fails all of them over
  smartdr recover --region west --group prod --no-failover # only takes it over
  smartdr recover --region west --bucket dr-west --endpoint https://s3.west.example.com --yes`

// recoverFlags is what was asked for besides the request.
type recoverFlags struct {
	bucket, endpoint, s3Region, prefix string
	preview, noFailover, yes           bool
}

// RecoverReport is what `smartdr recover -o json` prints.
type RecoverReport struct {
	Groups     []api.Recoverable    `json:"groups"`
	TakenOver  []string             `json:"takenOver,omitempty"`
	Operations []topology.Operation `json:"operations,omitempty"`
	Errors     []string             `json:"errors,omitempty"`
}

func (a *app) recoverCommand() *cobra.Command {
	var req api.RecoverRequest
	var flags recoverFlags
	cmd := &cobra.Command{
		Use: "recover", Short: "Take groups over from one region's bucket, with an empty Temporal", Args: cobra.NoArgs,
		Long: recoverLong, Example: recoverExample,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if req.Region == "" {
				return usage(cmd, "from which region's bucket? --region is missing")
			}
			ctx, cancel := a.waiting(cmd.Context())
			defer cancel()
			return a.recover(ctx, req, flags)
		},
	}
	f := cmd.Flags()
	f.StringVar(&req.Region, "region", "", "region whose bucket is there, and that is to serve")
	f.StringSliceVarP(&req.Groups, "group", "g", nil, "only these groups (default: all that the bucket knows)")
	f.StringVar(&flags.bucket, "bucket", "", "the region's bucket, where no configuration says it")
	f.StringVar(&flags.endpoint, "endpoint", "", "URL of its object store (default: Amazon's)")
	f.StringVar(&flags.s3Region, "s3-region", "", "region name that the object store wants")
	f.StringVar(&flags.prefix, "prefix", "", "before every key of the bucket")
	f.BoolVar(&flags.preview, "preview", false, "only show which groups are there and what a failover would lose")
	f.BoolVar(&flags.noFailover, "no-failover", false, "take the groups over, and serve them from where they are")
	f.BoolVar(&req.Force, "force", false, "although another bucket decides and cannot be asked, or the serving region looks alive")
	f.BoolVarP(&flags.yes, "yes", "y", false, "do not ask")
	a.completeRegionFlags(cmd, "region")
	cmd.MarkFlagsMutuallyExclusive("preview", "no-failover")
	return cmd
}

func (a *app) recover(ctx context.Context, req api.RecoverRequest, flags recoverFlags) error {
	s, unwritten, err := a.recoverService(req.Region, flags)
	if err != nil {
		return err
	}
	all, err := s.PreviewRecover(ctx, req)
	if err != nil {
		return err
	}
	if !req.Force && !flags.noFailover {
		refuseAlive(all)
	}
	if flags.preview {
		return a.show(RecoverReport{Groups: all}, func(st render.Style) string { return render.Recover(all, req.Region, a.now(), st) })
	}
	if err := refusedAll(all); err != nil {
		return err
	}
	if !flags.yes {
		if err := a.consents("recover", render.Recover(all, req.Region, a.now(), render.Style{}), "region", req.Region); err != nil {
			return err
		}
	}
	if unwritten != nil {
		if err := a.writeConfig(a.configPath(), unwritten); err != nil {
			return err
		}
	}
	if err := s.AwaitWorker(ctx, req.Region, func(why error) { a.advise("Waiting: %v.\n%s", why, a.toStart(why, req.Region)) }); err != nil {
		return err
	}
	req.By = cmp.Or(a.Getenv("USER"), "somebody") + " with smartdr recover"
	return a.recoverAll(ctx, s, req, flags, all)
}

// toStart says what is to be started, of Temporal and a worker, while the one or the other does not answer.
func (a *app) toStart(why error, region string) string {
	worker := fmt.Sprintf("smartdr-worker --config %s --region %s", a.configPath(), region)
	if api.NoTemporal(why) {
		return "Start one, if it is lost an empty one: temporal server start-dev --db-filename temporal.db\nThen a worker on the host that is to serve: " + worker
	}
	return "Start one on the host that is to serve: " + worker
}

// refuseAlive refuses groups that still seem to be served, before anything is taken over.
func refuseAlive(all []api.Recoverable) {
	for i := range all {
		if p := all[i].Preview; all[i].Refused == "" && p != nil && p.Alive {
			all[i].Refused = p.From + " still seems alive: " + p.Evidence
			all[i].Hint = "If it is lost all the same, say so with --force; to take the group over and leave it where it is: --no-failover."
		}
	}
}

// refusedAll refuses when nothing can be taken over. What is refused beside others is said at the end.
func refusedAll(all []api.Recoverable) error {
	for _, r := range all {
		if r.Refused == "" {
			return nil
		}
	}
	return api.As(api.Unsafe, fault.Newf(fault.Invalid, "recover", "%s", all[0].Refused).WithHint("%s", all[0].Hint))
}

// recoverAll takes over one group after the other, and goes on where one fails.
func (a *app) recoverAll(ctx context.Context, s *api.Service, req api.RecoverRequest, flags recoverFlags, all []api.Recoverable) error {
	report := RecoverReport{Groups: all}
	var errs []error
	for _, r := range all {
		op, err := a.recoverOne(ctx, s, req, flags, r)
		if err == nil || op != nil {
			report.TakenOver = append(report.TakenOver, r.Group.Name)
		}
		if op != nil {
			report.Operations = append(report.Operations, *op)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("group %s: %w", r.Group.Name, err))
			report.Errors = append(report.Errors, errs[len(errs)-1].Error())
		}
	}
	err := a.show(report, func(st render.Style) string {
		return render.Recovered(report.TakenOver, report.Operations, a.now(), st)
	})
	if err == nil && len(errs) > 0 {
		err = errs[0]
		if len(report.TakenOver) > 0 {
			err = api.As(api.Partly, errors.Join(errs...))
		}
	}
	return err
}

// recoverOne takes a group over, and fails it over if that is wanted and needed. The operation is nil when there was none.
func (a *app) recoverOne(ctx context.Context, s *api.Service, req api.RecoverRequest, flags recoverFlags, r api.Recoverable) (*topology.Operation, error) {
	if r.Refused != "" {
		return nil, api.As(api.Unsafe, fault.Newf(fault.Invalid, "recover", "%s", r.Refused).WithHint("%s", r.Hint))
	}
	name := r.Group.Name
	a.advise("Taking over %s", name)
	if _, err := s.Recover(ctx, req, name); err != nil {
		return nil, err
	}
	if flags.noFailover || r.Preview == nil && !r.Resume {
		return nil, nil
	}
	started, err := s.StartFailover(ctx, api.FailoverRequest{Group: name, To: failoverTo(req, r), Force: req.Force && !r.Resume, Resume: r.Resume})
	if err != nil {
		return nil, err
	}
	a.advise("Failover %s of %s has begun", started.Operation, name)
	op, err := a.follow(ctx, s.WatchOperation(ctx, started))
	if err != nil {
		return nil, err
	}
	if op.State != topology.OperationCompleted {
		return &op, api.As(api.Failed, fault.Newf(fault.Invalid, "failover", "%s", op.Error).WithHint("%s", op.Hint))
	}
	return &op, nil
}

func failoverTo(req api.RecoverRequest, r api.Recoverable) string {
	if r.Resume {
		return "" // where it led to
	}
	return req.Region
}

// configPath is where the configuration is read from, or will be.
func (a *app) configPath() string {
	return cmp.Or(a.flags.config, a.Getenv(config.EnvPath), config.DefaultPath)
}

// recoverService returns the API over the configuration; without one, over the bucket that the flags name. The configuration that the flags
// make is returned then, to be written before a worker is waited for.
func (a *app) recoverService(region string, flags recoverFlags) (*api.Service, *config.Config, error) {
	if flags.bucket == "" {
		s, err := a.service()
		return s, nil, err
	}
	path := a.configPath()
	cfg, err := config.One(path, region, flags.regionOf(a.Getenv("AWS_REGION")))
	if err != nil {
		return nil, nil, err
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		s, err := a.service()
		if err == nil {
			err = sameBucket(path, region, cfg)
		}
		return s, nil, err
	}
	a.api = api.New(cfg, api.Options{})
	return a.api, cfg, nil
}

// regionOf is the region that the flags describe. A store that has an endpoint of its own takes any name of a region.
func (flags recoverFlags) regionOf(awsRegion string) config.Region {
	r := config.Region{Bucket: flags.bucket, Endpoint: flags.endpoint, S3Region: cmp.Or(flags.s3Region, awsRegion), Prefix: flags.prefix, Worker: config.Worker{DataDir: "/var/lib/smartdr"}}
	if flags.endpoint != "" {
		r.PathStyle, r.S3Region = true, cmp.Or(r.S3Region, "us-east-1") // what every store but Amazon's takes
	}
	return r
}

// sameBucket refuses flags that name another bucket than the configuration does. One that an earlier run wrote names the same.
func sameBucket(path, region string, asked *config.Config) error {
	there, err := config.Load(path)
	if err != nil {
		return err
	}
	a, b := asked.Regions[region], there.Regions[region]
	if a.Bucket == b.Bucket && a.Endpoint == b.Endpoint && a.Prefix == b.Prefix {
		return nil
	}
	return fault.Newf(fault.Invalid, "recover", "there is a configuration, %s, and it does not name that bucket for region %s", path, region).
		WithHint("Leave out --bucket, --endpoint, --s3-region and --prefix, or name another file to be written: --config FILE")
}

// writeConfig writes what a worker has to be started with. The keys to the bucket stay in the environment.
func (a *app) writeConfig(path string, cfg *config.Config) error {
	text, err := cfg.Minimal()
	if err != nil {
		return err
	}
	const head = "# Written by smartdr recover. The keys to the bucket are where the AWS SDK looks for them: AWS_ACCESS_KEY_ID and\n" +
		"# AWS_SECRET_ACCESS_KEY in the environment, ~/.aws, or the machine's role. Add the other region when it is there again.\n"
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fault.New(fault.Invalid, "write configuration", err).WithHint("Name another file: --config FILE")
	}
	_, err = file.WriteString(head + string(text))
	if err = errors.Join(err, file.Close()); err != nil {
		return fault.New(fault.Invalid, "write configuration", err)
	}
	a.advise("Wrote %s:\n\n%s", path, indent(string(text)))
	return nil
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n  ") + "\n"
}
