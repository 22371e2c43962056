package cli

import (
	"fmt"
	"strings"
)

// checkDetachKeys checks --detach-keys: keys with commas between, each a character or ctrl- and one of a-z @ [ \ ] ^ _.
func checkDetachKeys(keys string) error {
	if keys == "" {
		return nil
	}
	for _, key := range strings.Split(keys, ",") {
		if len(key) == 1 {
			continue
		}
		letter, ok := strings.CutPrefix(strings.ToLower(key), "ctrl-")
		if !ok || len(letter) != 1 || !strings.Contains(`abcdefghijklmnopqrstuvwxyz@[\]^_`, letter) {
			return fmt.Errorf("invalid detach keys (%s): %q is neither a character nor ctrl- and one of a-z @ [ \\ ] ^ _", keys, key)
		}
	}
	return nil
}
