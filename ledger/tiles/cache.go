package tiles

import (
	"container/list"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
)

// cachedTiles bounds the full hash tiles that all logs of a disk keep in memory: 8 MiB at 8 KiB each.
const cachedTiles = 1024

// A cache keeps the full hash tiles that were read last. What is in it was checked.
type cache struct {
	mu    sync.Mutex
	tiles map[cacheKey]*list.Element
	order list.List // of *cached, used last in front
}

type cacheKey struct {
	log  *Log
	tile tlog.Tile
}

type cached struct {
	key  cacheKey
	data []byte
}

func newCache() *cache { return &cache{tiles: make(map[cacheKey]*list.Element)} }

func (c *cache) get(l *Log, t tlog.Tile) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.tiles[cacheKey{l, t}]
	if !ok {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*cached).data
}

func (c *cache) put(l *Log, t tlog.Tile, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := cacheKey{l, t}
	if _, ok := c.tiles[k]; ok {
		return
	}
	if len(c.tiles) >= cachedTiles {
		last := c.order.Back()
		delete(c.tiles, last.Value.(*cached).key)
		c.order.Remove(last)
	}
	c.tiles[k] = c.order.PushFront(&cached{k, data})
}

// forget drops the tiles of one log.
func (c *cache) forget(l *Log) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, e := range c.tiles {
		if k.log == l {
			delete(c.tiles, k)
			c.order.Remove(e)
		}
	}
}
