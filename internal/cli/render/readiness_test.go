package render

import (
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/topology"
)

func readiness() topology.Readiness {
	return topology.Readiness{
		Group: "prod", Epoch: 1, To: "west", CheckedAt: before(40 * time.Second), State: topology.ReadinessBlocking,
		Items: []topology.ReadinessItem{
			{Check: "bucket", State: topology.ReadinessOK, Text: "The bucket of west was read from here."},
			{Check: "last restore", State: topology.ReadinessWarning, Text: "Nothing was ever restored from these buckets.", Todo: "Try it before it is needed."},
			{Check: "snapshot", Workspace: "main", State: topology.ReadinessBlocking, Text: "No snapshot is complete in the bucket of west.", Todo: "Wait for it."},
			{Check: "slot", Workspace: "main", State: topology.ReadinessWarning, Text: "Slot a has no limit.", Todo: "Set max_slot_wal_keep_size."},
			{Check: "slot", Workspace: "side", State: topology.ReadinessWarning, Text: "Slot b has no limit.", Todo: "Set max_slot_wal_keep_size."},
		},
		Drift: []topology.DriftItem{{Workspace: "main", Kind: "setting", Name: "shared_buffers", Primary: "8GB", Secondary: "2GB", Text: "this host has 8 GiB of memory"}},
	}
}

func TestReadinessGolden(t *testing.T) {
	ready := topology.Readiness{Group: "prod", To: "west", State: topology.ReadinessOK, Items: readiness().Items[:1]}
	warned := topology.Readiness{Group: "prod", To: "west", State: topology.ReadinessWarning, Items: readiness().Items[:2]}
	for name, got := range map[string]string{
		"readiness":       Readiness(readiness(), Style{}),
		"readiness_tty":   Readiness(readiness(), Style{Colour: true}),
		"readiness_ok":    Readiness(ready, Style{}),
		"readiness_warns": Readiness(warned, Style{}),
		"drift":           Drift(readiness(), Style{}),
		"no_drift":        Drift(ready, Style{}),
	} {
		t.Run(name, func(t *testing.T) { golden(t, name, got) })
	}
}

func TestReadinessLine(t *testing.T) {
	for _, c := range []struct {
		r    topology.Readiness
		want string
	}{
		{topology.Readiness{}, ""},
		{readiness(), "readiness: 1 blocking, 3 warnings, checked 40 s ago: smartdr readiness --group prod\n"},
		{topology.Readiness{Group: "prod", CheckedAt: before(time.Minute), State: topology.ReadinessOK}, "readiness: ok, checked 1 m 00 s ago: smartdr readiness --group prod\n"},
	} {
		if got := ReadinessLine(c.r, now, Style{}); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
