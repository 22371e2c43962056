package engine

import (
	"testing"
	"time"
)

// The pauses are Docker's: 100 ms, doubled up to a minute, and 100 ms again after more than 10 s of good running.
func TestRestartBackoff(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ran := func(d time.Duration) Life { return Life{StartedAt: began, FinishedAt: began.Add(d)} }
	var b restartBackoff
	for i, want := range []int{100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000} {
		if got := b.next(ran(time.Second)); got != time.Duration(want)*time.Millisecond {
			t.Errorf("pause %d is %v, and not %d ms", i+1, got, want)
		}
	}
	for _, c := range []struct{ up, want time.Duration }{
		{10 * time.Second, time.Minute}, {10*time.Second + 1, 100 * time.Millisecond}, {0, 200 * time.Millisecond}, {time.Hour, 100 * time.Millisecond},
	} {
		if got := b.next(ran(c.up)); got != c.want {
			t.Errorf("after %v up the pause is %v, and not %v", c.up, got, c.want)
		}
	}
}
