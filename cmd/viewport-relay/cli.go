package main

import (
	"fmt"
	"io"
	"reflect"
	"strconv"

	"github.com/alecthomas/kong"

	"github.com/getviewport/relay/cmd/viewport-relay/internal/config"
)

// cli is the command line.
type cli struct {
	Serve   sources      `cmd:"" help:"Run the relay until SIGTERM or SIGINT."`
	Check   checkCommand `cmd:"" help:"Say what is wrong with the configuration, and how to mend it, without starting."`
	Version struct{}     `cmd:"" help:"Print the version."`
}

// checkCommand is the command line of check.
type checkCommand struct {
	sources
	Strict bool `help:"Fail on warnings, too."`
	Docs   bool `help:"Print the reference of all settings as Markdown instead."`
}

// sources are the flags that make a configuration: one for each setting of the table, and the file.
type sources struct {
	Config string `help:"File of KEY=VALUE lines; flags and the environment win over it." placeholder:"FILE"`
	kong.Plugins
}

// newSources makes a struct of one *string field for each of config.Flags, which kong reads as if it had been written
// down.
func newSources() sources {
	var fields []reflect.StructField
	for i, f := range config.Flags() {
		fields = append(fields, reflect.StructField{
			Name: "F" + strconv.Itoa(i),
			Type: reflect.TypeFor[*string](),
			Tag:  reflect.StructTag(fmt.Sprintf("name:%q help:%q placeholder:%q", f.Name, f.Help, f.Placeholder)),
		})
	}
	return sources{Plugins: kong.Plugins{reflect.New(reflect.StructOf(fields)).Interface()}}
}

// options returns what was given.
func (s sources) options() config.Options {
	o := config.Options{File: s.Config, Flags: map[string]string{}}
	values := reflect.ValueOf(s.Plugins[0]).Elem()
	for i, f := range config.Flags() {
		if v := values.Field(i).Interface().(*string); v != nil {
			o.Flags[f.Variable] = *v
		}
	}
	return o
}

// parse reads the command line. For --help it prints and exits.
func parse(args []string, stdout, stderr io.Writer) (c *cli, command string, err error) {
	c = &cli{Serve: newSources(), Check: checkCommand{sources: newSources()}}
	parser, err := kong.New(c, kong.Name("viewport-relay"), kong.Writers(stdout, stderr),
		kong.Description("A self-hosted relay: daemons and clients dial out to it, it forwards end-to-end "+
			"encrypted envelopes. Each flag has a variable of the environment, which is the usual way to set it. "+
			"Exit codes: 0 clean, 1 failure, 2 bad configuration."))
	if err != nil {
		return nil, "", err
	}
	ctx, err := parser.Parse(args)
	if err != nil {
		return nil, "", err
	}
	return c, ctx.Command(), nil
}
