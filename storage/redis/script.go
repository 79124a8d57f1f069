package redis

import (
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// current returns which process of the server this is, and how far its clock is ahead of the caller's. The epoch of another process
// is over. So is an epoch since which the server's clock jumped ahead, or a caller's clock was set back: then records expired too
// early by the caller's clock. That is compared with the caller that was furthest ahead in the epoch. The clocks of two callers
// may differ by 60 s. They are compared through messages, so two seconds more are allowed, and records live so much longer.
const current = `
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local time = redis.call('TIME')
local ahead = time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[3]
local epoch = redis.call('HMGET', KEYS[1], 'id', 'birth', 'run', 'ahead', 'seen')
local live = epoch[1] and epoch[3] == run and ahead - epoch[4] <= 62000
`

// epochScript returns name and birth of the epoch in KEYS[1]. If it is over, the epoch that ARGV[1] names begins, at ARGV[2] or at the
// newest time at which a proof was spent, whichever is later; ARGV[3] is the caller's time in milliseconds. A server that evicts
// keys has no epoch.
var epochScript = goredis.NewScript(current + `
local policy = string.match(redis.call('INFO', 'memory'), 'maxmemory_policy:([%w-]+)')
if policy ~= 'noeviction' then
	return redis.error_reply('EVICTS ' .. tostring(policy))
end
if live then
	return {epoch[1], tonumber(epoch[2])}
end
local birth = string.format('%d', math.max(ARGV[2], epoch[2] or 0, epoch[5] or 0))
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'birth', birth, 'run', run, 'ahead', string.format('%d', ahead), 'seen', birth)
return {ARGV[1], tonumber(birth)}
`)

// slack is by how much longer records live, see current.
const slack = 2 * time.Second

// spendScript records KEYS[2] for ARGV[4] milliseconds, if the epoch in KEYS[1] is the one of ARGV[1] and ARGV[2].
// ARGV[5] names the attempt, so that a script that is sent again recognizes its own record. The epoch stores the newest second,
// rounded up, and the time of the caller that is furthest ahead.
var spendScript = goredis.NewScript(current + `
if not live or epoch[1] ~= ARGV[1] or epoch[2] ~= ARGV[2] then
	return 'stale'
end
local second = math.floor(ARGV[3] / 1000) + 1
if not epoch[5] or second > tonumber(epoch[5]) then
	redis.call('HSET', KEYS[1], 'seen', string.format('%d', second))
end
if ahead < tonumber(epoch[4]) then
	redis.call('HSET', KEYS[1], 'ahead', string.format('%d', ahead))
end
if redis.call('SET', KEYS[2], ARGV[5], 'NX', 'PX', ARGV[4]) or redis.call('GET', KEYS[2]) == ARGV[5] then
	return 'spent'
end
return 'replayed'
`)
