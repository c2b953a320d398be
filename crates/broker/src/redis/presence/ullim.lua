#!lua name=ullim

-- Who is in a channel (docs/redis.md, "Presence"). Each function touches the keys of one slot only, and publishes what
-- it changes, so that of two racers one alone tells of it. Nothing is half done: what can fail is tried before the first
-- write. Values that somebody else has written may be anything, and make no function fail.

-- To be raised with every change; newer revisions must understand the arguments of older ones.
local REVISION = 2

-- How events are published. In a Cluster it is 'spublish': a node writes that in here when it loads this.
local PUBLISH = 'publish'

-- The most bytes of an entry, and of a user's name, that are looked at.
local MAX_ENTRY = 16384
local MAX_USER = 512

-- What a user has who left without saying how long they may be away, in milliseconds.
local GRACE = 5000

-- The most users that one call tells of, and the longest wait that it names, in milliseconds.
local BATCH = 256
local DAY = 86400000

-- The envelope of a coming and a going: magic, version, kind JSON, presence, end of fields.
local JOINED = '\137ULLIM\r\n\1\129\0\1\1\133\0\1\1\0'
local LEFT = '\137ULLIM\r\n\1\129\0\1\1\133\0\1\2\0'

-- What the functions call.
local RIGHTS = {
  'hget', 'hset', 'hsetnx', 'hdel', 'hlen', 'hgetall', 'hscan', 'sadd', 'srem', 'sscan', 'del',
  'zadd', 'zrem', 'zcard', 'zrange', 'zrangebyscore', PUBLISH, 'time', 'info'
}

local function text(number)
  return string.format('%.0f', number)
end

-- Milliseconds.
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- A number of at least 0, or nil.
local function count(value)
  local number = value and tonumber(value)
  if number and number >= 0 and number < 9007199254740992 then
    return math.floor(number)
  end
end

local function delay(score, time)
  local rest = (tonumber(score) or 0) - time
  if rest > 0 then
    return math.min(math.ceil(rest), DAY)
  end
  return 0
end

-- Fails where a later write would.
local function check(keys, channel)
  redis.call('HLEN', keys[1])
  redis.call('HLEN', keys[2])
  redis.call('ZCARD', keys[3])
  if not redis.acl_check_cmd(PUBLISH, channel, '') then
    error({ err = 'NOPERM this user may not publish on ' .. channel })
  end
end

-- The node, user and grace of an entry; nil if it cannot be read.
local function read(session, value)
  if #value > MAX_ENTRY then
    return nil
  end
  local ok, entry = pcall(cjson.decode, value)
  if not ok or type(entry) ~= 'table' or type(entry.node) ~= 'string' then
    return nil
  end
  if entry.user == nil then
    return { node = entry.node, user = '~' .. session, grace = 0, since = count(entry.since) }
  end
  if type(entry.user) ~= 'string' or #entry.user > MAX_USER then
    return nil
  end
  local grace = type(entry.grace) == 'number' and count(entry.grace) or GRACE
  return { node = entry.node, user = entry.user, grace = math.min(grace, DAY), since = count(entry.since) }
end

local function publish_leave(channel, user)
  redis.call(PUBLISH, channel, LEFT .. '{"user":' .. cjson.encode(user) .. '}')
end

-- A user has one session less. Returns whether they are away until the deadline.
local function lose(keys, channel, user, deadline, time)
  local sessions = count(redis.call('HGET', keys[2], user)) or 0
  if sessions > 1 then
    redis.call('HSET', keys[2], user, text(sessions - 1))
    return false
  end
  redis.call('HDEL', keys[2], user)
  if deadline > time then
    redis.call('ZADD', keys[3], text(deadline), user)
    return true
  end
  redis.call('ZREM', keys[3], user)
  publish_leave(channel, user)
  return false
end

-- How long until the first and the last deadline of a channel; -1 if there is none.
local function pending(keys, time)
  local first = redis.call('ZRANGE', keys[3], 0, 0, 'WITHSCORES')
  if not first[2] then
    return -1, -1
  end
  local last = redis.call('ZRANGE', keys[3], -1, -1, 'WITHSCORES')
  return delay(first[2], time), delay(last[2], time)
end

-- KEYS: any. Returns the revision of this library, and the first right that the caller lacks.
local function revision(keys)
  for _, command in ipairs(RIGHTS) do
    -- Thrice, because whatever a command takes for a key must be one.
    if not redis.acl_check_cmd(command, keys[1], keys[1], keys[1]) then
      return { REVISION, command }
    end
  end
  return { REVISION, '' }
end

-- KEYS: presence, users, leaving. ARGS: channel, session, user, entry without its end, since or 0, grace of whoever had
-- the session, data of the event, and, if this is a repetition, the names that the node has had, between spaces: the
-- place that another node has taken meanwhile is left to it; and until when the node's lease holds, after which nobody is
-- entered. Returns since when the session is in the channel, an empty text if it is another's, or 'late'; and how long
-- the other user is away whose session it was, or -1.
local function enter(keys, args)
  local channel, session, user, entry = args[1], args[2], args[3], args[4]
  check(keys, channel)
  local time = now()
  local lease_end = count(args[9])
  if lease_end and time > lease_end then
    return { 'late', -1 }
  end
  local since = count(args[5]) or 0
  local away = -1
  local value = redis.call('HGET', keys[1], session)
  -- What cannot be read is taken for the same user's, who was counted.
  local known = value and (read(session, value) or { user = user })
  local names = args[8] or ''
  if known and known.node and names ~= '' and not string.find(names, ' ' .. known.node .. ' ', 1, true) then
    return { '', -1 }
  end
  local sessions = count(redis.call('HGET', keys[2], user)) or 0
  local goes_on = known and known.user == user and sessions > 0
  if since == 0 then
    since = goes_on and known.since or time
  end
  redis.call('HSET', keys[1], session, entry .. ',"since":' .. text(since) .. '}')
  if not goes_on then
    redis.call('HSET', keys[2], user, text(sessions + 1))
    local returned = redis.call('ZREM', keys[3], user)
    if sessions == 0 and returned == 0 then
      redis.call(PUBLISH, channel, JOINED .. args[7])
    end
  end
  if known and known.user ~= user then
    local grace = count(args[6]) or 0
    if lose(keys, channel, known.user, time + math.min(grace, known.grace), time) then
      away = grace
    end
  end
  return { text(since), away }
end

-- KEYS: presence, users, leaving. ARGS: channel, session, user, node, grace. Returns whether there was an entry of that
-- node, and how long its user is away before that is told, or -1.
local function leave(keys, args)
  local channel, session, user, node = args[1], args[2], args[3], args[4]
  check(keys, channel)
  local value = redis.call('HGET', keys[1], session)
  local known = value and (read(session, value) or { node = node, user = user })
  if not known or known.node ~= node then
    return { 0, -1 }
  end
  local time = now()
  local grace = math.min(count(args[5]) or 0, DAY)
  redis.call('HDEL', keys[1], session)
  if lose(keys, channel, known.user, time + grace, time) then
    return { 1, grace }
  end
  return { 1, -1 }
end

-- KEYS: presence, users, leaving. ARGS: channel. Tells of those whose deadline has passed. Returns how long it is until
-- the first and the last deadline, or -1.
local function depart(keys, args)
  local channel = args[1]
  check(keys, channel)
  local time = now()
  local due = redis.call('ZRANGEBYSCORE', keys[3], '-inf', text(time), 'LIMIT', '0', tostring(BATCH))
  for _, user in ipairs(due) do
    redis.call('ZREM', keys[3], user)
    if #user <= MAX_USER and not count(redis.call('HGET', keys[2], user)) then
      publish_leave(channel, user)
    end
  end
  return { pending(keys, time) }
end

-- KEYS: presence, users, leaving. ARGS: channel, node, time of its last renewal, sessions. Removes those of the sessions
-- that are still that node's. Returns how many.
local function reap(keys, args)
  local channel, node, renewed = args[1], args[2], count(args[3]) or 0
  check(keys, channel)
  local time = now()
  local removed = 0
  for i = 4, #args do
    local value = redis.call('HGET', keys[1], args[i])
    local known = value and read(args[i], value)
    if known and known.node == node then
      redis.call('HDEL', keys[1], args[i])
      lose(keys, channel, known.user, known.grace > 0 and renewed + known.grace or 0, time)
      removed = removed + 1
    end
  end
  return removed
end

-- The times of a lease: of its renewal, of a claim to what it left.
local function lease(value)
  local renewed, claimed = string.match(value, '^(%d+) ?(%d*)$')
  return count(renewed) or 0, count(claimed)
end

local function lapsed(value, time, args)
  local renewed, claimed = lease(value)
  return time - renewed > tonumber(args[2]) and not (claimed and time - claimed < tonumber(args[3]))
end

-- KEYS: nodes. ARGS: node, length of a lease, length of a claim, '1' for a new node, the node that it was before, and '1'
-- if the caller wants to know the time.
-- Returns what became of the lease (0 renewed, 1 renewed but lapsed before or from the future, 2 new, 3 lost), the
-- replication id, the revision, the nodes whose lease has lapsed, and the time.
local function renew(keys, args)
  local info = redis.call('INFO', 'replication')
  if string.match(info, 'role:(%a+)') ~= 'master' then
    return redis.error_reply('READONLY this is a replica')
  end
  local node, is_new = args[1], args[4] == '1'
  local time = now()
  local nodes = redis.call('HGETALL', keys[1])
  local stale, own = {}, nil
  for i = 1, #nodes, 2 do
    if nodes[i] == node then
      own = nodes[i + 1]
    elseif lease(nodes[i + 1]) > time + tonumber(args[2]) then
      -- Redis' clock was set back: the lease begins anew.
      redis.call('HSET', keys[1], nodes[i], text(time))
    elseif #stale < 64 and lapsed(nodes[i + 1], time, args) then
      stale[#stale + 1] = nodes[i]
    end
  end
  local state = 0
  if is_new then
    state = 2
    if args[5] ~= '' then
      -- What it left in that name is looked after, even if nobody knew the name any more.
      redis.call('HSETNX', keys[1], args[5], text(time))
    end
  elseif not own or string.find(own, ' ', 1, true) then
    state = 3
  elseif math.abs(time - lease(own)) > tonumber(args[2]) then
    state = 1
  end
  if state ~= 3 then
    redis.call('HSET', keys[1], node, text(time))
  end
  local renewed = { state, string.match(info, 'master_replid:(%w+)') or '', REVISION, stale }
  if args[6] == '1' then
    renewed[5] = text(time)
  end
  return renewed
end

-- KEYS: nodes. ARGS: node, length of a lease, length of a claim. Returns the time of the node's last renewal if it is
-- now the caller's to clean up, else an empty text.
local function claim(keys, args)
  local time = now()
  local value = redis.call('HGET', keys[1], args[1])
  if not value or not lapsed(value, time, args) then
    return ''
  end
  local renewed = text((lease(value)))
  redis.call('HSET', keys[1], args[1], renewed .. ' ' .. text(time))
  return renewed
end

redis.register_function { function_name = 'ullim_revision', callback = revision, flags = { 'no-writes' } }
redis.register_function { function_name = 'ullim_enter', callback = enter }
redis.register_function { function_name = 'ullim_leave', callback = leave, flags = { 'allow-oom' } }
redis.register_function { function_name = 'ullim_depart', callback = depart, flags = { 'allow-oom' } }
redis.register_function { function_name = 'ullim_reap', callback = reap, flags = { 'allow-oom' } }
redis.register_function { function_name = 'ullim_renew', callback = renew, flags = { 'allow-oom' } }
redis.register_function { function_name = 'ullim_claim', callback = claim, flags = { 'allow-oom' } }
