package catalog

import (
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

const groupsPrefix = "groups/"

func groupKey(group string) string         { return groupsPrefix + group + "/group.json" }
func epochsPrefix(group string) string     { return groupsPrefix + group + "/epochs/" }
func operationsPrefix(group string) string { return groupsPrefix + group + "/operations/" }

func epochKey(group string, e topology.Epoch) string {
	return fmt.Sprintf("%s%08d.json", epochsPrefix(group), e)
}

func operationKey(group, id string) string { return operationsPrefix(group) + id + ".json" }

func workspaceKey(group, workspace, document string) string {
	return groupsPrefix + group + "/workspaces/" + workspace + "/" + document
}

var epochFile = regexp.MustCompile(`^[0-9]{8}\.json$`)

// parseEpochKey returns false for what is no claim.
func parseEpochKey(key string) (topology.Epoch, bool) {
	name := path.Base(key)
	if !epochFile.MatchString(name) {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSuffix(name, ".json"), 10, 64)
	return topology.Epoch(n), err == nil && n > 0
}

// operationID is what an operation's ID looks like: Temporal's run IDs, and names that people make up.
var operationID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

func checkOperationID(id string) error {
	if operationID.MatchString(id) {
		return nil
	}
	return fault.Newf(fault.Invalid, "check operation", "%q is no id of an operation", id).
		WithHint("Use 1 to 128 letters, digits, dots, underscores and hyphens.")
}

func checkNames(group string, workspaces ...string) error {
	if err := topology.CheckName("workspace group", group); err != nil {
		return err
	}
	for _, w := range workspaces {
		if err := topology.CheckName("workspace", w); err != nil {
			return err
		}
	}
	return nil
}
