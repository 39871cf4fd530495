package cli

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/fault"
)

// consents asks for a name to be typed before something is done that hurts. shown is what it would do. Both go to stderr,
// so that stdout holds results alone.
func (a *app) consents(op, shown, kind, name string) error {
	fmt.Fprint(a.Err, shown)
	fmt.Fprintf(a.Err, "\nType the %s's name to %s: ", kind, op)
	line, err := bufio.NewReader(a.In).ReadString('\n')
	if strings.TrimSpace(line) == name {
		return nil
	}
	fmt.Fprintln(a.Err)
	what := "that is not the " + kind + "'s name"
	if err != nil && line == "" {
		what = "nobody answered"
	}
	return api.As(api.Unsafe, fault.Newf(fault.Invalid, op, "%s; nothing was changed", what).
		WithHint("In scripts, --yes agrees to it."))
}
