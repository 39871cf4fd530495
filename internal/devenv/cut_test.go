package devenv

import (
	"bufio"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// echo answers every line with the same line.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	return l.Addr().String()
}

// say sends a line over a connection and returns how long the answer took.
func say(c net.Conn, patience time.Duration) (time.Duration, error) {
	began := time.Now()
	if err := c.SetDeadline(began.Add(patience)); err != nil {
		return 0, err
	}
	if _, err := c.Write([]byte("hello\n")); err != nil {
		return 0, err
	}
	_, err := bufio.NewReader(c).ReadString('\n')
	return time.Since(began), err
}

func timeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

func TestACutLine(t *testing.T) {
	t.Parallel()
	cut, err := StartCut(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	defer cut.Close()
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", cut.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	const soon, long = 300 * time.Millisecond, time.Minute
	check := func(what string, c net.Conn, patience time.Duration, good func(error) bool) {
		t.Helper()
		if _, err := say(c, patience); !good(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	answers := func(err error) bool { return err == nil }
	ends := func(err error) bool { return err != nil && !timeout(err) }

	c := dial()
	check("a whole line", c, long, answers)
	cut.Slow(100 * time.Millisecond)
	if took, err := say(c, long); err != nil || took < 200*time.Millisecond {
		t.Errorf("a slow line answered after %s, %v", took, err)
	}
	cut.Slow(0)
	cut.Set(Swallowing)
	check("what was open when the line began to swallow", c, soon, timeout)
	fresh := dial()
	check("what began since", fresh, soon, timeout)
	cut.Set(Whole)
	check("what was swallowed, after the line healed", c, long, ends)
	check("what began meanwhile", fresh, long, ends)
	c = dial()
	check("a line that was healed", c, long, answers)
	cut.Set(Refusing)
	check("what was open when the line was cut", c, long, ends)
	if c, err := net.Dial("tcp", cut.Addr()); err == nil {
		check("what began since", c, long, ends)
		_ = c.Close()
	}
	cut.Set(Whole)
	check("a line that was healed again", dial(), long, answers)
}
