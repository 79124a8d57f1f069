package redis

import goredis "github.com/redis/go-redis/v9"

// current tells which process of the server this is, and how far its clock is ahead of the caller's. The epoch of
// another process is over, and so is one since which the clock leapt: then records died too early. 60 s is what the
// clocks of two callers may differ by.
const current = `
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local time = redis.call('TIME')
local ahead = time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[3]
local epoch = redis.call('HMGET', KEYS[1], 'id', 'birth', 'run', 'ahead')
local live = epoch[1] and epoch[3] == run and ahead - epoch[4] <= 60000
`

// epochScript returns name and birth of the epoch in KEYS[1]. If it is over, the one that ARGV[1] names, born at
// ARGV[2], begins; ARGV[3] is the caller's time in milliseconds. A server that evicts keys has none.
var epochScript = goredis.NewScript(current + `
local policy = string.match(redis.call('INFO', 'memory'), 'maxmemory_policy:([%w-]+)')
if policy ~= 'noeviction' then
	return redis.error_reply('EVICTS ' .. tostring(policy))
end
if live then
	return {epoch[1], tonumber(epoch[2])}
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'birth', ARGV[2], 'run', run, 'ahead', string.format('%d', ahead))
return {ARGV[1], tonumber(ARGV[2])}
`)

// spendScript records KEYS[2] for ARGV[4] milliseconds, if the epoch in KEYS[1] is the one of ARGV[1] and ARGV[2].
// ARGV[5] names the attempt: a script that is sent again finds what it recorded itself.
var spendScript = goredis.NewScript(current + `
if not live or epoch[1] ~= ARGV[1] or epoch[2] ~= ARGV[2] then
	return 'stale'
end
if redis.call('SET', KEYS[2], ARGV[5], 'NX', 'PX', ARGV[4]) or redis.call('GET', KEYS[2]) == ARGV[5] then
	return 'spent'
end
return 'replayed'
`)
