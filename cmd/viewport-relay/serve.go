package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/getviewport/relay/cmd/viewport-relay/internal/config"
	"github.com/getviewport/relay/server"
)

// serve runs the relay until a signal ends it.
func serve(o config.Options, environ []string, stderr io.Writer) int {
	cfg, problems := config.Load(environ, o)
	if !config.Usable(problems, false) {
		for _, p := range problems {
			say(stderr, "%s", p)
		}
		say(stderr, "viewport-relay did not start: the configuration is not usable.")
		return exitConfig
	}
	log := newLogger(stderr, cfg)
	for _, p := range problems {
		level := slog.LevelInfo
		if p.Severity == config.Warning {
			level = slog.LevelWarn
		}
		log.Log(context.Background(), level, "configuration: "+p.Text, "mend", p.Mend)
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// Once the first signal came the next one does what it does to any process: end it at once.
	defer context.AfterFunc(ctx, func() {
		stop()
		log.Info("stopping; another signal ends it at once")
	})()

	tuneMemory(os.DirFS("/"), log)
	relay, err := server.New(serverConfig(cfg, log))
	if err == nil {
		err = relay.Run(ctx)
	}
	if err != nil {
		log.Error("the relay failed", "err", err)
		return exitFailure
	}
	return exitOK
}

// serverConfig is the configuration as the server takes it.
func serverConfig(cfg config.Config, log *slog.Logger) server.Config {
	return server.Config{
		Listen:              cfg.Listen,
		AdminListen:         cfg.AdminListen,
		AdminTokens:         cfg.AdminTokens,
		TrustedProxies:      cfg.TrustedProxies,
		TLSCert:             cfg.TLSCert,
		TLSKey:              cfg.TLSKey,
		RelayID:             cfg.RelayID,
		Version:             buildVersion(),
		JWKSURL:             cfg.JWKSURL,
		ValidateURL:         cfg.ValidateURL,
		InternalKey:         cfg.InternalKey,
		Issuer:              cfg.Issuer,
		Audience:            cfg.Audience,
		ValidateTimeout:     cfg.ValidateTimeout,
		ValidateConcurrency: cfg.ValidateConcurrency,
		RecheckInterval:     cfg.RecheckInterval,
		StateDir:            cfg.StateDir,
		Heartbeat:           cfg.Heartbeat,
		ReadinessDelay:      cfg.ReadinessDelay,
		DrainTime:           cfg.DrainTime,
		Limits: server.Limits{
			SessionWindow: cfg.SessionWindow,
			MaxEnvelope:   cfg.MaxEnvelope,
			MaxMessage:    cfg.MaxMessage,

			Links:             cfg.MaxLinks,
			LinksPerAddress:   orUnlimited(cfg.MaxLinksPerAddress),
			LinksPerWorkspace: orUnlimited(cfg.MaxLinksPerWorkspace),
			LinksPerTarget:    orUnlimited(cfg.MaxLinksPerTarget),
			ProcessBytes:      int64(cfg.QueueBytes),
			LinkBytes:         int64(cfg.LinkQueueBytes),
		},
		LegacyRates: server.LegacyRates{
			Upgrades:        orUnlimited(cfg.LegacyRates.Upgrades),
			KeyExchanges:    orUnlimited(cfg.LegacyRates.KeyExchanges),
			Pairings:        orUnlimited(cfg.LegacyRates.Pairings),
			ClientFrames:    orUnlimited(cfg.LegacyRates.ClientFrames),
			WorkspaceFrames: orUnlimited(cfg.LegacyRates.WorkspaceFrames),
			DaemonFrames:    orUnlimited(cfg.LegacyRates.DaemonFrames),
		},
		WorkerTransport: cfg.WorkerTransport,
		QueryTokens:     cfg.QueryTokens,
		Log:             log,
	}
}

// orUnlimited turns an operator's 0 for off into the server's word for it.
func orUnlimited(n int) int {
	if n == 0 {
		return server.Unlimited
	}
	return n
}
