package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"
)

// canonical turns a command's arguments, written in any way that Docker's command line accepts, into the one plain form
// that cannot be misread: --name=value for every option, then "--", then the arguments.
//
// Docker reads -it, -p80:80, -dp 80:80, --rm=false, and options behind arguments (`rm web -f`). The flag package under
// urfave/cli stops at the first argument and knows no attached values, so the reading is done here. Beyond Docker, a long
// name may stand behind a single dash (-net br0) where Docker would see nothing but an error.
//
// help is true when --help was asked for.
func canonical(v *verb, flags []urfave.Flag, args []string) (out []string, help bool, err error) {
	r := reader{verb: v, flags: flags}
	var rest []string
	for len(args) > 0 && !r.help {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			rest = append(rest, args...)
			args = nil
		case v.bare && arg != "--help", len(arg) < 2 || arg[0] != '-':
			rest = append(rest, arg)
			if v.passthrough || v.bare {
				rest = append(rest, args...)
				args = nil
			}
		case strings.HasPrefix(arg, "--"):
			args, err = r.long(arg, arg[2:], args)
		default:
			args, err = r.short(arg, args)
		}
		if err != nil {
			return nil, false, err
		}
	}
	return append(append(r.out, "--"), rest...), r.help, nil
}

type reader struct {
	verb  *verb
	flags []urfave.Flag
	out   []string
	help  bool
}

func (r *reader) find(name string) urfave.Flag {
	for _, f := range r.flags {
		if isCalled(f, name) {
			return f
		}
	}
	return nil
}

// long reads --name, --name=value and --name value; it returns what is left of the arguments.
func (r *reader) long(arg, text string, args []string) ([]string, error) {
	name, value, given := strings.Cut(text, "=")
	flag := r.find(name)
	switch {
	case flag == nil && name == "help":
		r.help = true
		return args, nil
	case flag == nil && onlyValue(r.verb, name) != "":
		return r.only(name, value, given, args)
	case flag == nil || len(name) == 1:
		return nil, r.unknown(name, "unknown flag: --"+name)
	case isSwitch(flag):
		if !given {
			value = "true"
		}
	case !given && len(args) == 0:
		return nil, usagef(r.verb, "flag needs an argument: %s", arg)
	case !given:
		value, args = args[0], args[1:]
	}
	return args, r.add(flag, "--"+name, value)
}

// only takes a flag of Docker's that has one value here, which is what happens anyhow, and refuses all others.
func (r *reader) only(name, value string, given bool, args []string) ([]string, error) {
	want := onlyValue(r.verb, name)
	switch {
	case !given && want == "true": // a switch
		value = want
	case !given && len(args) == 0:
		return nil, usagef(r.verb, "flag needs an argument: --%s", name)
	case !given:
		value, args = args[0], args[1:]
	}
	if value != want {
		return nil, r.unknown(name, "")
	}
	return args, nil
}

// short reads a bundle of one-letter options, the last of which may take a value: -it, -p80:80, -dp 80:80.
func (r *reader) short(arg string, args []string) ([]string, error) {
	letters := arg[1:]
	for i := 0; i < len(letters); i++ {
		name := letters[i : i+1]
		flag := r.find(name)
		switch {
		case flag == nil && i == 0 && r.find(longName(letters)) != nil:
			return r.long(arg, letters, args)
		case flag == nil && name == "h" && i == 0:
			r.help = true
			return args, nil
		case flag == nil && i == 0 && len(letters) > 1:
			return nil, r.unknown(longName(letters), fmt.Sprintf("unknown shorthand flag: '%s' in %s", name, arg))
		case flag == nil:
			return nil, r.unknown(name, fmt.Sprintf("unknown shorthand flag: '%s' in %s", name, arg))
		case !isSwitch(flag) && i+1 < len(letters):
			return args, r.add(flag, "-"+name, strings.TrimPrefix(letters[i+1:], "="))
		case !isSwitch(flag) && len(args) == 0:
			return nil, usagef(r.verb, "flag needs an argument: '%s' in %s", name, arg)
		case !isSwitch(flag):
			return args[1:], r.add(flag, "-"+name, args[0])
		}
		value := "true"
		if i+1 < len(letters) && letters[i+1] == '=' {
			value, i = letters[i+2:], len(letters)
		}
		if err := r.add(flag, "-"+name, value); err != nil {
			return nil, err
		}
	}
	return args, nil
}

func longName(text string) string {
	name, _, _ := strings.Cut(text, "=")
	return name
}

func (r *reader) add(f urfave.Flag, given, value string) error {
	if what := wrongValue(f, value); what != "" {
		return usagef(r.verb, "invalid argument %q for %q flag: %s", value, given, what)
	}
	r.out = append(r.out, "--"+names(f)[0]+"="+value)
	return nil
}

func isSwitch(f urfave.Flag) bool {
	_, ok := f.(*urfave.BoolFlag)
	return ok
}

// wrongValue says what is wrong with a value, before urfave sees it, in words that name the flag as it was given.
func wrongValue(f urfave.Flag, value string) string {
	if flagKind(f) == "filter" && value != "" && !strings.Contains(value, "=") {
		return "bad format of filter (expected name=value)"
	}
	switch f.(type) {
	case *urfave.BoolFlag:
		if _, err := strconv.ParseBool(value); err != nil {
			return "it is either true or false"
		}
	case *urfave.Int64Flag:
		if _, err := strconv.ParseInt(value, 0, 64); err != nil {
			return "it is a whole number"
		}
	case *urfave.DurationFlag:
		if _, err := time.ParseDuration(value); err != nil {
			return "it is a duration such as 300ms, 1m30s or 2h"
		}
	}
	return ""
}

// unknown is the error for a flag that the verb does not have. One that Docker has is refused with a reason; for another
// the nearest of ours is suggested.
func (r *reader) unknown(name, message string) error {
	if reason := refusal(r.verb, name); reason != "" {
		return usagef(r.verb, "%s", reason)
	}
	var known []string
	for _, f := range r.flags {
		for _, n := range names(f) {
			if len(n) > 1 {
				known = append(known, n)
			}
		}
	}
	if best := nearest(name, known); best != "" {
		message = fmt.Sprintf("%s (did you mean --%s?)", message, best)
	}
	return usagef(r.verb, "%s", message)
}

// valueOf is what an option was given, the last time; "" when it was not.
func valueOf(options []string, name string) (value string) {
	for _, o := range options {
		if v, ok := strings.CutPrefix(o, "--"+name+"="); ok {
			value = v
		}
	}
	return value
}
