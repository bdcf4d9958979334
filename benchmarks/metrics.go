package main

import (
	"bytes"
	"context"
	"fmt"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/grille-gateway/grille/node/client"
)

// histogram reads sum and count of one of a gateway's histograms from its metrics page.
func histogram(ctx context.Context, c *client.Client, name string) (sum float64, count uint64, err error) {
	var page []byte
	if err := c.Get(ctx, "/metrics", &page); err != nil {
		return 0, 0, err
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(page))
	if err != nil {
		return 0, 0, fmt.Errorf("reading a gateway's metrics: %w", err)
	}
	for _, m := range families[name].GetMetric() {
		sum += m.GetHistogram().GetSampleSum()
		count += m.GetHistogram().GetSampleCount()
	}
	return sum, count, nil
}
