package render

import (
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/verify"
	"github.com/smartdr/smartdr/workflows"
)

func verified() topology.Verified {
	return topology.Verified{
		Group: "prod", Region: "west", Read: topology.VerifySample, Seed: 42, StartedAt: before(40 * time.Second), EndedAt: before(28 * time.Second),
		Objects: 1200, Bytes: 5 << 30, ReadObjects: 21, ReadBytes: 70 << 20,
		Lost: []topology.Lost{
			{Of: topology.LossWindow, Text: "Workspace main, lineage 0001-0000000a, which serves: nothing can be restored from 0/5000000 to 0/7000000 (2026-11-23 10:00:00Z to 2026-11-23 10:05:00Z)."},
			{Of: topology.LossBranch, Text: "Branch test cannot be attached: its point 0/6000000 of lineage 0001-0000000a cannot be restored."},
		},
		Findings: []topology.Finding{
			{Kind: topology.FindingMissing, Severity: topology.SeverityLost, Key: "groups/prod/workspaces/main/wal/0001-0000000a/00000001/0000000005000000-0000000006000000.seg",
				What: "The WAL from 0/5000000 to 0/6000000 is in no object of the bucket.", Consequence: []string{"Branch test cannot be attached."}, Repair: "Copy it from the bucket of east."},
			{Kind: topology.FindingUnknown, Severity: topology.SeverityNote, Key: "groups/prod/notes.txt", What: "It is not of the layout that this version knows.",
				Consequence: []string{"Nothing is lost."}},
		},
		More: 3, Notes: []string{"The bucket of east does not answer."},
	}
}

func TestVerifiedGolden(t *testing.T) {
	whole := topology.Verified{Region: "east", Read: topology.VerifyNone, Objects: 3, Bytes: 100, StartedAt: before(time.Second), EndedAt: before(time.Second)}
	noted := whole
	noted.Findings = verified().Findings[1:]
	away := topology.Verified{Region: "east", Error: "it does not answer", Hint: "Look at its endpoint."}
	for name, got := range map[string]string{
		"verified":       Verified(workflows.VerifyResult{Regions: []topology.Verified{verified(), whole}}, Style{}),
		"verified_tty":   Verified(workflows.VerifyResult{Regions: []topology.Verified{verified()}}, Style{Colour: true}),
		"verified_noted": Verified(workflows.VerifyResult{Regions: []topology.Verified{noted}}, Style{}),
		"verified_away":  Verified(workflows.VerifyResult{Regions: []topology.Verified{away}}, Style{}),
		"verify_progress": VerifyProgress(api.VerifyProgress{Region: "west", Progress: verify.Progress{Doing: "list the bucket of west"}}) + "\n" +
			VerifyProgress(api.VerifyProgress{Region: "west", Progress: verify.Progress{Doing: "read back", Objects: 3, Of: 9, Bytes: 1 << 20, OfBytes: 8 << 20, Rate: 5e6}}) + "\n",
	} {
		t.Run(name, func(t *testing.T) { golden(t, name, got) })
	}
}
