package metadata

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/smartdr/smartdr/internal/postgres"
)

// icuAsks remembers what each installation of this host answered: to ask one takes a cluster that is thrown away, some seconds.
var icuAsks = struct {
	sync.Mutex
	known map[string]icuAnswer
}{known: map[string]icuAnswer{}}

type icuAnswer struct {
	Versions []string  `json:"versions"`
	AskedAt  time.Time `json:"askedAt"`
}

const (
	// icuHolds is how long an answer holds: the library can be replaced while the programs stay.
	icuHolds = 24 * time.Hour
	// icuAgain is how long after an attempt that failed another one is made.
	icuAgain = 10 * time.Minute
	// icuWithin is how long an attempt may take.
	icuWithin = time.Minute
)

// icuVersions returns the versions by which an installation's ICU sorts, as PostgreSQL records them with collations: one for
// languages that sort as all do, one for those with rules of their own. nil is unknown, or there is none.
func icuVersions(ctx context.Context, bin postgres.Binaries) []string {
	key, err := icuKey(bin)
	if err != nil {
		return nil
	}
	icuAsks.Lock()
	defer icuAsks.Unlock()
	answer, ok := icuAsks.known[key]
	if !ok {
		answer, ok = readAnswer(key)
	}
	holds := icuHolds
	if answer.Versions == nil {
		holds = icuAgain
	}
	if ok && time.Since(answer.AskedAt) < holds {
		return answer.Versions
	}
	answer = icuAnswer{AskedAt: time.Now()}
	if answer.Versions, err = askICU(ctx, bin); err == nil {
		writeAnswer(key, answer)
	}
	if ctx.Err() == nil {
		icuAsks.known[key] = answer
	}
	return answer.Versions
}

// icuKey names an installation as it is now.
func icuKey(bin postgres.Binaries) (string, error) {
	info, err := os.Stat(bin.Path("postgres"))
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(fmt.Append(nil, bin.BinDir, bin.Version, info.Size(), info.ModTime().UnixNano()))
	return hex.EncodeToString(sum[:8]), nil
}

// askICU makes a cluster, asks it, and throws it away.
func askICU(ctx context.Context, bin postgres.Binaries) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, icuWithin)
	defer cancel()
	account, err := postgres.DefaultAccount()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "smartdr-icu-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // what stays is swept with the folder for temporary files
	s := &postgres.Server{Bin: bin, DataDir: filepath.Join(dir, "data"), Superuser: "postgres", Account: account}
	if err := s.Own(dir); err != nil {
		return nil, err
	}
	if err := s.Init(ctx, postgres.InitOptions{NoSync: true, Locale: "C"}); err != nil {
		return nil, err
	}
	versions, err := s.Single(ctx, "template1", `select distinct pg_collation_actual_version(oid) from pg_collation where collprovider = 'i' and pg_collation_actual_version(oid) is not null`)
	slices.Sort(versions)
	return versions, err
}

// answerFile is where other processes of this user find an answer; a worker that is started anew does not ask again.
func answerFile(key string) (string, error) {
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "smartdr", "icu-"+key+".json"), err
}

func readAnswer(key string) (a icuAnswer, ok bool) {
	path, err := answerFile(key)
	if err != nil {
		return a, false
	}
	b, err := os.ReadFile(path)
	return a, err == nil && json.Unmarshal(b, &a) == nil
}

// writeAnswer saves asking again; without it all works the same.
func writeAnswer(key string, a icuAnswer) {
	path, err := answerFile(key)
	if err != nil || os.MkdirAll(filepath.Dir(path), 0o700) != nil {
		return
	}
	b, err := json.Marshal(a)
	if err != nil || os.WriteFile(path+".new", b, 0o600) != nil {
		return
	}
	_ = os.Rename(path+".new", path)
}
