package postgres

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"github.com/smartdr/smartdr/internal/fault"
)

// Account is the operating system user that a server runs as.
type Account struct {
	Name string `json:"name"`
	UID  uint32 `json:"uid"`
	GID  uint32 `json:"gid"`
}

// DefaultAccount returns the account for servers of this process. PostgreSQL refuses to run as root, so for root it is
// the user "postgres", or "nobody" where there is none; for everybody else nil, which means the same user.
func DefaultAccount() (*Account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			return accountOf(u)
		}
	}
	return nil, fault.Newf(fault.Invalid, "choose an account", "neither the user postgres nor nobody exists").
		WithHint("PostgreSQL refuses to run as root. Make a user postgres, or run the worker as an ordinary user.")
}

func accountOf(u *user.User) (*Account, error) {
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err1 != nil || err2 != nil {
		return nil, fault.Newf(fault.Invalid, "choose an account", "user %s has no numeric ids", u.Username)
	}
	return &Account{Name: u.Username, UID: uint32(uid), GID: uint32(gid)}, nil
}

// credential returns what the kernel needs to start a process as a, with a's supplementary groups: certificates
// are often readable for one of those only.
func (a *Account) credential() *syscall.Credential {
	if a == nil {
		return nil
	}
	c := &syscall.Credential{Uid: a.UID, Gid: a.GID}
	u, err := user.LookupId(fmt.Sprint(a.UID))
	if err != nil {
		return c
	}
	ids, err := u.GroupIds()
	if err != nil {
		return c
	}
	for _, id := range ids {
		if gid, err := strconv.ParseUint(id, 10, 32); err == nil {
			c.Groups = append(c.Groups, uint32(gid))
		}
	}
	return c
}

// environment is all that a server inherits: the environment of a worker holds secrets.
func environment() []string {
	env := []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH")}
	for _, name := range []string{"LD_LIBRARY_PATH", "TZ"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}
