package legacy_test

import "github.com/getviewport/relay/server"

func ratesOff(*server.Config)               {}
func upgradesPerMinute(*server.Config, int) {}
func daemonPerMinute(*server.Config, int)   {}
func clientPerMinute(*server.Config, int)   {}
func workersOn(*server.Config)              {}
