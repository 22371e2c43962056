package engine

import (
	"errors"
	"time"

	"github.com/mydocker/mydocker/state"
)

// Restart policies: whether a container that has ended is started again, when, and under whose eyes.

// restartBackoff is Docker's: 100 ms, doubled each time up to a minute, and back to 100 ms after 10 s of good running.
type restartBackoff struct{ Last time.Duration }

func (b *restartBackoff) next(life Life) time.Duration {
	if life.FinishedAt.Sub(life.StartedAt) > 10*time.Second {
		b.Last = 0
	}
	b.Last = min(max(2*b.Last, 100*time.Millisecond), time.Minute)
	return b.Last
}

func (m *monitor) shouldRestart(life Life, restarts int) (bool, error) {
	written, err := m.e.readLife(m.d.ID)
	if err != nil || written.Stopped {
		return false, err
	}
	if fresh, err := m.e.readDefinition(m.d.ID); err == nil {
		m.d.Options.Restart = fresh.Options.Restart
	}
	switch p := m.d.Options.Restart; p.Name {
	case "always", "unless-stopped":
		return true, nil
	case "on-failure":
		return life.ExitCode != 0 && (p.MaximumRetryCount == 0 || restarts < p.MaximumRetryCount), nil
	}
	return false, nil
}

// pauseBeforeRestart waits, and says no when the container is stopped meanwhile.
func (m *monitor) pauseBeforeRestart(d time.Duration) bool {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(min(50*time.Millisecond, d)) {
		if written, err := m.e.readLife(m.d.ID); err != nil || written.Stopped {
			return false
		}
	}
	return true
}

// lockForRestart keeps others from renaming and removing the container while it is started once more. wanted says that nobody
// wants it down, or gone, by now.
func (m *monitor) lockForRestart() (unlock func(), wanted bool) {
	for ; ; time.Sleep(2 * time.Millisecond) {
		_, err := m.e.readDefinition(m.d.ID) // gone, when the container is
		if written, lifeErr := m.e.readLife(m.d.ID); err != nil || lifeErr != nil || written.Stopped {
			return nil, false
		}
		l, err := state.TryLockThere(m.e.path(m.d.ID, lockFile))
		if errors.Is(err, state.ErrLocked) {
			continue
		}
		if err != nil {
			return nil, false
		}
		fresh, _, err := m.e.endUnfinished(m.d.ID)
		if err != nil {
			l.Release()
			return nil, false
		}
		m.d = fresh // renamed, or updated
		return func() { l.Release() }, true
	}
}
