package state

import (
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// Disinherit keeps what this process inherited beyond its three streams from the processes that it starts: the lock of a script, say,
// would be held as long as a monitor lives. What is meant for one of them is given by number. It equals, for each: exec N>&- .
//
// CLOSE_RANGE_CLOEXEC: close_range(2), Linux 5.11.
func Disinherit() error {
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("keep inherited descriptors from our processes: close_range: %w", err)
	}
	return nil
}
