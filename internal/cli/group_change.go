package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/topology"
)

const groupChangeLong = `Change who may reach a group's servers, its option "SmartDR and database branching", when a region fences itself, or how far a failover
moves sequences ahead.

The firewall holds for the servers that SmartDR runs: those that it made, and those that a failover brings up. A range is
as 10.0.0.0/8 or 2001:db8::/32; an address alone is a range of one. Who is not in it gets no connection, whatever the
access rules of the workspace say. With --allow-all those rules decide alone.

With --self-fence-after a region that serves, and for that long reaches neither the other region's bucket nor Temporal, fences its own
servers: nobody writes any more what would be lost in a failover. The price is that a broken line alone stops the writers, so it is off
until somebody asks for it (docs/fencing.md).

A failover moves all sequences of the new primary ahead by --sequence-gap values, 100000 unless it is changed: what the region that is left
still handed out is not handed out again, and rows that turn up later have keys of their own (docs/runbook.md).`

const groupChangeExample = `  smartdr group change prod --firewall 10.0.0.0/8 --firewall 192.0.2.7
  smartdr group change prod --add-firewall 198.51.100.0/24
  smartdr group change prod --allow-all
  smartdr group change prod --smartdr          # replication and branches may be used from now on
  smartdr group change prod --self-fence-after 2m
  smartdr group change prod --sequence-gap 1000000`

// groupChanges is a change of a group, as flags say it.
type groupChanges struct {
	api.GroupChange
	ranges            []string
	allowAll, smartDR bool
	selfFence         string
	sequenceGap       int64
}

func (a *app) groupChangeCommand() *cobra.Command {
	var in groupChanges
	cmd := &cobra.Command{
		Use: "change [GROUP]", Short: "Change a group's firewall, its option SmartDR, or what it does in an emergency", Args: cobra.MaximumNArgs(1),
		Long: groupChangeLong, Example: groupChangeExample,
		ValidArgsFunction: a.completeGroups,
	}
	a.groupFlag(cmd, &in.Group)
	f := cmd.Flags()
	f.StringSliceVar(&in.ranges, "firewall", nil, "let this CIDR range in, and no other than those named; may be repeated")
	f.StringSliceVar(&in.Add, "add-firewall", nil, "let this CIDR range in too; may be repeated")
	f.StringSliceVar(&in.Remove, "remove-firewall", nil, "let this CIDR range in no longer; may be repeated")
	f.BoolVar(&in.allowAll, "allow-all", false, "let everybody in that the workspaces' own access rules let in")
	f.BoolVar(&in.smartDR, "smartdr", false, `turn the option "SmartDR and database branching" on, or with =false off`)
	f.StringVar(&in.selfFence, "self-fence-after", "", "have a region that reached nobody for this long, as 2m, fence its own servers; 0 never")
	f.Int64Var(&in.sequenceGap, "sequence-gap", topology.DefaultSequenceGap, "have a failover move sequences ahead by so many values; 0 not at all")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		req, err := in.request(cmd, args)
		if err != nil {
			return err
		}
		return a.changes(cmd, req.Group, func(ctx context.Context, s *api.Service) error {
			done, err := s.ChangeGroup(ctx, req)
			return a.changedGroup(done, err, "group %s is changed", req.Group)
		})
	}
	return cmd
}

func (in groupChanges) request(cmd *cobra.Command, args []string) (api.GroupChange, error) {
	req := in.GroupChange
	if len(args) == 1 {
		req.Group = args[0]
	}
	if cmd.Flags().Changed("smartdr") {
		req.SmartDR = &in.smartDR
	}
	if cmd.Flags().Changed("self-fence-after") {
		req.SelfFenceAfter = &in.selfFence
	}
	if cmd.Flags().Changed("sequence-gap") {
		req.SequenceGap = &in.sequenceGap
	}
	replaced := cmd.Flags().Changed("firewall")
	switch {
	case replaced && in.allowAll:
		return req, usage(cmd, "--firewall and --allow-all exclude each other")
	case (replaced || in.allowAll) && len(req.Add)+len(req.Remove) > 0:
		return req, usage(cmd, "--firewall and --allow-all say all of it: leave --add-firewall and --remove-firewall out")
	case replaced:
		req.Firewall = &topology.Firewall{Ranges: in.ranges}
	case in.allowAll:
		req.Firewall = &topology.Firewall{Ranges: []string{}, AllowAll: true}
	}
	return req, nil
}
