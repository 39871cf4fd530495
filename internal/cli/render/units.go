package render

import (
	"fmt"
	"strings"
	"time"
)

var byteUnits = []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}

// Bytes writes a size in binary units, as "1.2 GiB".
func Bytes(n int64) string {
	v, unit := float64(n), 0
	for v >= 1023.95 && unit < len(byteUnits)-1 { // 1023.95 would be written as 1024.0
		v, unit = v/1024, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, byteUnits[unit])
}

// Duration writes a length of time with the precision that a person needs, as "0.4 s", "12 s", "3 m 05 s", "2 h 10 m".
func Duration(d time.Duration) string {
	switch {
	case d < 0:
		return "0.0 s"
	case d < 9950*time.Millisecond:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute-500*time.Millisecond:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < time.Hour:
		d = d.Round(time.Second)
		return fmt.Sprintf("%d m %02d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		d = d.Round(time.Minute)
		return fmt.Sprintf("%d h %02d m", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d d %02d h", int(d.Hours())/24, int(d.Hours())%24)
}

// Seconds is Duration for a number of seconds.
func Seconds(s float64) string { return Duration(time.Duration(s * float64(time.Second))) }

// Ago writes how long before now a moment was; "-" for the zero time.
func Ago(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return Duration(now.Sub(t)) + " ago"
}

// Moment writes a time in UTC; "-" for the zero time.
func Moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// Percent writes a share of a hundred, never 100% before the end.
func Percent(p float64) string {
	if p >= 100 {
		return "100%"
	}
	return fmt.Sprintf("%d%%", int(max(p, 0)))
}

const barWidth = 10 // so that a table with bars fits into 100 columns

func bar(percent float64) string {
	full := min(barWidth, max(0, int(percent*barWidth/100)))
	return strings.Repeat("█", full) + strings.Repeat("░", barWidth-full)
}
