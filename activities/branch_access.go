package activities

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
)

// accessFile, in a branch's folder, says which of the catalog's rules its server follows.
const accessFile = "access.json"

// accessDigest changes with everything that the group's document says of who may get into a workspace's servers.
func accessDigest(g topology.Group, w topology.Workspace) (string, error) {
	b, err := json.Marshal([]any{g.Firewall, w.HBA, w.Ident})
	if err != nil {
		return "", fault.New(fault.Invalid, opAccess, err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(b)), nil
}

// keepAccess lets a branch's server follow the group's firewall and the workspace's rules when these change.
func (k *keeper) keepAccess(ctx context.Context, g topology.Group, s *postgres.Server, dir string, o owner) error {
	w := g.Workspace(o.Workspace)
	if w == nil {
		return nil
	}
	digest, err := accessDigest(g, *w)
	if err != nil {
		return err
	}
	var there string
	found, err := readState(dir, accessFile, &there)
	if err != nil || there == digest {
		return err
	}
	if found { // else it has just been let serve by the rules of now
		in := RestoreInput{Group: o.Group, To: k.Region, Plan: o.Plan, Branch: o.Branch, Attachment: o.Attachment}
		m, err := k.metadataOrNone(ctx, in)
		if err != nil {
			return err
		}
		place, err := k.metadataPlace(ctx, s, m)
		if err != nil {
			return err
		}
		if _, err := k.letIn(ctx, s, in, m, place); err != nil {
			return err
		}
		if err := keepLinks(ctx, s); err != nil {
			return err
		}
		k.Log.InfoContext(ctx, "a branch's server follows other access rules", "branch", o.Branch, "instance", dir)
	}
	return writeState(dir, accessFile, digest)
}
