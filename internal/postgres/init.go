package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

// InitOptions are the choices of initdb.
type InitOptions struct {
	Checksums   bool
	SegmentSize wal.SegmentSize // 0 means 16 MiB
	Locale      string          // default "C.UTF-8"
	ICULocale   string          // sorts by ICU when it is set
	NoSync      bool            // do not wait for the disk; for tests
}

// Init makes a new cluster, with s.Superuser as its first role, reachable through the socket only. The data
// directory must not exist or be empty: anything else is fault.Conflict.
func (s *Server) Init(ctx context.Context, o InitOptions) error {
	const op = "make a cluster"
	if entries, err := os.ReadDir(s.DataDir); err == nil && len(entries) > 0 {
		return fault.Newf(fault.Conflict, op, "%s is not empty", s.DataDir)
	}
	for _, dir := range []string{s.InstanceDir(), s.DataDir} {
		if err := s.makeDir(dir); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, s.Bin.Path("initdb"), s.initArguments(o)...)
	cmd.Dir, cmd.Env = "/", environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.Account.credential()}
	if out, err := cmd.CombinedOutput(); err != nil {
		return initError(op, out, errors.Join(err, ctx.Err()))
	}
	return s.WriteHBA("")
}

func initError(op string, out []byte, err error) error {
	text := strings.Join(strings.Fields(string(out[max(0, len(out)-400):])), " ")
	if strings.Contains(text, "No space left on device") {
		return fault.Newf(fault.Full, op, "initdb: %w: %s", err, text)
	}
	return fault.Newf(fault.Invalid, op, "initdb: %w: %s", err, text)
}

func (s *Server) initArguments(o InitOptions) []string {
	locale := o.Locale
	if locale == "" {
		locale = "C.UTF-8"
	}
	args := []string{"-D", s.DataDir, "-U", s.Superuser, "-E", "UTF8", "--locale=" + locale, "--lc-messages=C", "-A", "reject"}
	if o.Checksums {
		args = append(args, "--data-checksums")
	} else if s.Bin.Major() >= 18 {
		args = append(args, "--no-data-checksums") // on by default since 18
	}
	if o.ICULocale != "" {
		args = append(args, "--locale-provider=icu", "--icu-locale="+o.ICULocale)
	}
	if o.SegmentSize != 0 {
		args = append(args, "--wal-segsize="+strconv.Itoa(int(o.SegmentSize>>20)))
	}
	if o.NoSync {
		args = append(args, "--no-sync")
	}
	return args
}

// WriteHBA says who may connect besides this host's control: rules in pg_hba.conf's form, or nothing, which keeps the
// server private. A running server follows after Reload.
func (s *Server) WriteHBA(rules string) error {
	hba, ident := s.controlRules()
	if rules != "" {
		hba += strings.TrimRight(rules, "\n") + "\n"
	}
	if err := s.writeFile(s.IdentFile(), []byte(ident)); err != nil {
		return err
	}
	return s.writeFile(s.HBAFile(), []byte(hba))
}

// controlRules let the user of this process in as s.Superuser through the socket, and no other user of the host.
// A user without a name, as in some containers, cannot be told apart by the server; the socket folder's mode
// has to do.
func (s *Server) controlRules() (hba, ident string) {
	method := "trust"
	if u, err := user.LookupId(strconv.Itoa(os.Geteuid())); err == nil {
		method = "peer map=smartdr"
		ident = fmt.Sprintf("smartdr %s %s\n", quoteListItem(u.Username), quoteListItem(s.Superuser))
	}
	role := quoteListItem(s.Superuser)
	hba = "# Written by SmartDR: this host controls the server through its socket.\n" +
		fmt.Sprintf("local all %s %s\nlocal replication %s %s\n", role, method, role, method)
	return hba, "# Written by SmartDR.\n" + ident
}
