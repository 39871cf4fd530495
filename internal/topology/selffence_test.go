package topology

import (
	"testing"

	"github.com/smartdr/smartdr/internal/fault"
)

func TestParseSelfFence(t *testing.T) {
	for text, want := range map[string]int{"0": 0, "0s": 0, "30s": 30, "2m": 120, "1h30m": 5400, "24h": 86400} {
		if got, err := ParseSelfFence(text); got != want || err != nil {
			t.Errorf("%q is %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "off", "2", "29s", "-2m", "25h", "30.5s"} {
		if got, err := ParseSelfFence(text); !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" {
			t.Errorf("%q is %d, %v", text, got, err)
		}
	}
}
