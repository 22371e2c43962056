package cli

import (
	"bufio"
	"fmt"
	"strings"
)

// confirm asks before something is removed for good. Without an answer, as when standard input is not there, it is no.
func (s *session) confirm(warning string) bool {
	fmt.Fprintf(s.streams.Err, "%s\nAre you sure you want to continue? [y/N] ", warning)
	line, _ := bufio.NewReader(s.streams.In).ReadString('\n') // an end of the input is an answer, too
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes"
}
