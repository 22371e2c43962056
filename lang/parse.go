package lang

import (
	"fmt"
	"slices"
	"strings"
)

// parse reads a file of messages: see the package comment for its form.
func parse(data string) (map[string]string, error) {
	messages := make(map[string]string)
	key, body := "", []string(nil)
	end := func() error {
		if key == "" {
			return nil
		}
		text := strings.TrimRight(strings.Join(body, "\n"), " \n")
		if text == "" {
			return fmt.Errorf("[%s] is empty", key)
		}
		if _, twice := messages[key]; twice {
			return fmt.Errorf("[%s] stands there twice", key)
		}
		messages[key] = text
		return nil
	}
	for line := range strings.Lines(data) {
		line = strings.TrimSuffix(line, "\n")
		if next, ok := header(line); ok {
			if err := end(); err != nil {
				return nil, err
			}
			key, body = next, nil
			continue
		}
		body = append(body, line)
	}
	return messages, end()
}

// header reads "[ip-forward.cause]".
func header(line string) (string, bool) {
	if len(line) < 3 || line[0] != '[' || line[len(line)-1] != ']' {
		return "", false
	}
	key := line[1 : len(line)-1]
	for _, r := range key {
		if !isNameRune(r) && r != '.' {
			return "", false
		}
	}
	return key, true
}

func isNameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_'
}

// pieces cuts a text at its placeholders: text, name, text, name, … text. "{{" is a brace.
func pieces(text string) (list []string) {
	var b strings.Builder
	for i := 0; i < len(text); {
		if strings.HasPrefix(text[i:], "{{") {
			b.WriteByte('{')
			i += 2
			continue
		}
		if text[i] == '{' {
			if end := strings.IndexByte(text[i:], '}'); end > 1 && strings.IndexFunc(text[i+1:i+end], notNameRune) < 0 {
				list = append(list, b.String(), text[i+1:i+end])
				b.Reset()
				i += end + 1
				continue
			}
		}
		b.WriteByte(text[i])
		i++
	}
	return append(list, b.String())
}

func notNameRune(r rune) bool { return !isNameRune(r) }

// placeholders are the names in a text, sorted, each once.
func placeholders(text string) (names []string) {
	for i, p := range pieces(text) {
		if i%2 == 1 {
			names = append(names, p)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// fill puts values, given as name, value, name, value, in the place of placeholders.
func fill(text string, pairs []any) (string, error) {
	if len(pairs)%2 != 0 {
		return "", fmt.Errorf("a placeholder without a value: %v", pairs[len(pairs)-1])
	}
	values, used := make(map[string]string, len(pairs)/2), make(map[string]bool, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		values[fmt.Sprint(pairs[i])] = fmt.Sprint(pairs[i+1])
	}
	var b strings.Builder
	for i, p := range pieces(text) {
		if i%2 == 0 {
			b.WriteString(p)
			continue
		}
		value, ok := values[p]
		if !ok {
			return "", fmt.Errorf("no value for {%s}", p)
		}
		used[p] = true
		b.WriteString(value)
	}
	for name := range values {
		if !used[name] {
			return "", fmt.Errorf("no placeholder {%s}", name)
		}
	}
	return b.String(), nil
}
