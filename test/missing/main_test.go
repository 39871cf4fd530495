// Package missing_test proves, on real servers and against models, that missing rows are found exactly and merged exactly.
package missing_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
)

// seedVariable chooses the random histories; without it each run has others.
const seedVariable = "SMARTDR_TEST_SEED"

var seed = newSeed()

func newSeed() uint64 {
	if s, err := strconv.ParseUint(os.Getenv(seedVariable), 10, 64); err == nil {
		return s
	}
	return uint64(time.Now().UnixNano() % 1e9)
}

func TestMain(m *testing.M) {
	fmt.Printf("%s=%d\n", seedVariable, seed)
	code := m.Run()
	for _, dir := range templateDirs() {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Println(err)
			code = 1
		}
	}
	os.Exit(code)
}

// random returns the source of a test's choices: the same for the same seed and the same parts.
func random(parts ...any) *rand.Rand {
	h := seed
	for _, c := range fmt.Sprint(parts...) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return rand.New(rand.NewPCG(seed, h))
}

// full says whether everything is tried, rather than what fits in a minute.
func full() bool { return os.Getenv(postgrestest.FullVariable) != "" }
