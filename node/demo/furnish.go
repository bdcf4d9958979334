package demo

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/client"
)

//go:embed data/NMES1988.csv datasets/*.yaml policies/*.yaml
var files embed.FS

// Survey is the demo's data: 4,406 real people, one row each (data/README.md has the source).
func Survey() ([]byte, error) { return files.ReadFile("data/NMES1988.csv") }

// Schemes are the demo's identifier schemes: people are numbered by their row in the survey, and in the worked examples each as it
// likes.
var Schemes = []network.Scheme{
	{Name: "nmes-person", Pattern: "NMES-[0-9]{6}", Normalise: "upper", Example: "NMES-000001"},
	{Name: "example", Pattern: "[A-Z]{2,8}-[0-9]{4}", Normalise: "upper", Example: "SNAP-0001"},
}

// Why the demo's members ask.
const (
	Purpose    = "Deciding an application for Medicaid"
	LegalBasis = "42 CFR 435.948"
)

// Rights are who may ask what in the demo.
var Rights = []struct{ Requester, Holder string }{
	{"GOV/benefits", "GOV/civil"}, {"GOV/benefits", "GOV/tax"}, {"GOV/benefits", "GOV/health"}, {"GOV/tax", "GOV/benefits"},
}

func ready(ctx context.Context, c *client.Client) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	defer c.HTTP.CloseIdleConnections()
	return c.Get(ctx, "/readyz", nil) == nil
}

// Client calls the node's gateway.
func (n *Node) Client() *client.Client {
	c := client.New(n.API, n.Token, nil)
	if n.Place.Dial != nil {
		c.HTTP.Transport.(*http.Transport).DialContext = n.Place.Dial // client.New makes one
	}
	return c
}

// Furnish declares every dataset, imports its data, publishes its policy, and makes the agreements. Members without a dataset stay
// as they are.
func (n *Network) Furnish(ctx context.Context) error {
	survey, err := Survey()
	if err != nil {
		return err
	}
	var mu sync.Mutex
	done := 0
	group, held := errgroup.WithContext(ctx)
	for _, node := range n.Nodes {
		if node.Dataset == "" {
			continue
		}
		group.Go(func() error {
			if err := node.furnish(held, survey); err != nil {
				return fmt.Errorf("furnishing %s: %w", node.Name, err)
			}
			mu.Lock()
			defer mu.Unlock()
			done++
			n.opts.Progress(fmt.Sprintf("%s committed its dataset and published its policy (%d of %d)", node.Name, done, len(n.Nodes)))
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	group, ctx = errgroup.WithContext(ctx)
	for _, right := range Rights {
		group.Go(func() error {
			return n.Grant(ctx, right.Requester, right.Holder, n.Node(right.Holder).Policy, 1000, 100_000)
		})
	}
	return group.Wait()
}

func (n *Node) furnish(ctx context.Context, survey []byte) error {
	schema, err := files.ReadFile("datasets/" + n.Dataset + ".yaml")
	if err != nil {
		return err
	}
	policy, err := files.ReadFile("policies/" + n.Policy + ".yaml")
	if err != nil {
		return err
	}
	c := n.Client()
	if err := c.Send(ctx, "/v1/datasets", "application/yaml", bytes.NewReader(schema), nil); err != nil {
		return err
	}
	if err := c.Send(ctx, "/v1/datasets/"+n.Dataset+"/epochs", "text/csv", bytes.NewReader(survey), nil); err != nil {
		return err
	}
	return c.Send(ctx, "/v1/policies", "application/yaml", bytes.NewReader(policy), nil)
}

// Grant makes an agreement for the demo's purpose on version 1 of a policy.
func (n *Network) Grant(ctx context.Context, requester, holder, policy string, perSubject, total int) error {
	return n.agree(ctx, requester, api.Offer{Holder: holder, Policy: policy, Version: 1, Purpose: Purpose, LegalBasis: LegalBasis,
		PerSubject: perSubject, Total: total})
}

// agree makes an agreement that stands for a year: an offer by the requester and its acceptance by the holder.
func (n *Network) agree(ctx context.Context, requester string, offer api.Offer) error {
	offer.Expires = time.Now().AddDate(1, 0, 0).UTC().Format("2006-01-02T15:04:05Z")
	var offered api.Reference
	err := settle(ctx, func() error { return n.Node(requester).Client().Post(ctx, "/v1/agreements", offer, &offered) })
	if err != nil {
		return fmt.Errorf("offering %s's agreement to %s: %w", requester, offer.Holder, err)
	}
	if err := settle(ctx, func() error {
		return n.Node(offer.Holder).Client().Post(ctx, "/v1/agreements/accept", offered, nil)
	}); err != nil {
		return fmt.Errorf("accepting %s's offer at %s: %w", requester, offer.Holder, err)
	}
	return nil
}

// settle repeats a call for as long as what it refers to has not arrived from another member yet.
func settle(ctx context.Context, call func() error) error {
	for {
		err := call()
		var p *api.Problem
		if err == nil || !errors.As(err, &p) || p.Status != http.StatusNotFound && p.Status != http.StatusConflict && p.Status != http.StatusServiceUnavailable {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(25 * time.Millisecond):
		}
	}
}
