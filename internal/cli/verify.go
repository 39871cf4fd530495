package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

const verifyLong = `Check what the buckets hold of a group: find objects that are missing, altered or orphaned, and say what cannot be restored because of
them. Nothing is changed.

  --read none     lists, small documents, indexes and headers are looked at
  --read sample   and what is newest is read back, with a hundredth of the rest, chosen at random
  --read all      and all of the rest, every digest of which is verified

Workers do it, and go on where they were when one dies; their account stays in the bucket. With --local this process reads the
buckets itself, also when Temporal is down.

The exit code is 0 when everything that is kept can be restored, whatever else was found, and 10 when something cannot.`

const verifyExample = `  smartdr verify --group prod
  smartdr verify --group prod --region west --read all --watch
  smartdr verify --group prod --local -o json | jq '.regions[].lost[].text'`

func (a *app) verifyCommand() *cobra.Command {
	var req api.VerifyRequest
	var watch bool
	cmd := &cobra.Command{
		Use: "verify", Short: "Check the buckets, and say what cannot be restored any more", Args: cobra.NoArgs,
		Long: verifyLong, Example: verifyExample,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.changes(cmd, req.Group, func(ctx context.Context, s *api.Service) error {
				var say func(api.VerifyProgress)
				if watch && !a.json() {
					say = a.sayVerifying()
				}
				r, err := s.Verify(ctx, req, say)
				if err != nil {
					return err
				}
				return a.showVerified(r)
			})
		},
	}
	a.groupFlag(cmd, &req.Group)
	f := cmd.Flags()
	f.StringVar(&req.Region, "region", "", "region whose bucket is meant (default: all of the group)")
	f.StringVar(&req.Read, "read", topology.VerifySample, "how much is read back: none, sample or all")
	f.Uint64Var(&req.Seed, "seed", 0, "take the sample that an earlier check took (default: another one each time)")
	f.BoolVar(&req.Local, "local", false, "read the buckets from here, without Temporal")
	f.BoolVarP(&watch, "watch", "w", false, "show how far it is")
	a.completeRegionFlags(cmd, "region")
	_ = cmd.RegisterFlagCompletionFunc("read", cobra.FixedCompletions([]string{topology.VerifyNone, topology.VerifySample, topology.VerifyAll}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// sayEvery is how often a line tells how far a check is.
const sayEvery = 2 * time.Second

// sayVerifying returns what writes a line about a check on stderr now and then.
func (a *app) sayVerifying() func(api.VerifyProgress) {
	last := map[string]time.Time{}
	return func(p api.VerifyProgress) {
		if now := a.now(); now.Sub(last[p.Region]) >= sayEvery {
			last[p.Region] = now
			fmt.Fprintln(a.Err, render.VerifyProgress(p))
		}
	}
}

func (a *app) showVerified(r workflows.VerifyResult) error {
	if err := a.show(r, func(st render.Style) string { return render.Verified(r, st) }); err != nil {
		return err
	}
	code := exitOK
	for _, v := range r.Regions {
		switch {
		case v.Broken():
			return exited(exitLost)
		case v.Error != "":
			code = exitUnreachable
		}
	}
	if code != exitOK {
		return exited(code)
	}
	return nil
}
