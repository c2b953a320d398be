-- Recoverable channels (docs/redis.md, "Recoverable channels"). Before this stands a head that a node has written: the
-- name of the library, OPTIONS (by key prefix: which command publishes, and of each namespace the size of its histories
-- and how long they live), OPTIONS_TEXT (the same, for nodes to read), and FOLLOWS_REPLICATION. Behind it the other files
-- of this folder follow: options.lua, publish.lua, read.lua.
--
-- This file owns channels and their epochs: which rules hold, which epoch is open, where it stands.
--
-- The stream is the state. Its open epoch is the name of a consumer group in it, with the replication id under which it
-- was opened; its last id is where the channel stands, also when no entry is left. Nothing is half done: what can fail
-- is tried before the first write.

-- To be raised with every change; newer revisions must understand the arguments of older ones.
local REVISION = 2

-- What every number stays below.
local MAX_NUMBER = 9007199254740992

-- How many channels a generation of what is remembered holds; there are two.
local GENERATION = 8192

local function fail(message)
  error({ err = message })
end

local function text(number)
  return string.format('%.0f', number)
end

-- What the master was when it was last asked, and in which millisecond; that one as text, and as field of an envelope.
local asked_at, is_master, replication = -1, false, ''
local time_text, time_field = '', ''

-- The greatest epoch that was opened here.
local issued = 0

-- What is remembered of a channel, by these indices: its options and rule; its open epoch and that one's group; how far
-- it was when it was last seen (nil: not known); whether the group knows no entry of it, and what it knows instead: the
-- cut; the epoch's part of an envelope.
local SETTINGS, RULE, EPOCH, GROUP, OFFSET, IS_FIRST, CUT, FIELD = 1, 2, 3, 4, 5, 6, 7, 8

-- It is a cache: before use it is compared with the stream, and XADD refuses a position that is not a new one. It holds
-- for one replication id.
local young, old, remembered = {}, {}, 0

local function remember(key, state)
  if not young[key] then
    if remembered >= GENERATION then
      young, old, remembered = {}, young, 0
    end
    remembered = remembered + 1
  end
  young[key] = state
end

local function forget(key)
  old[key] = nil
  if young[key] then
    young[key] = nil
    remembered = remembered - 1
  end
end

local function recall(key)
  local state = young[key]
  if not state then
    state = old[key]
    if state then
      remember(key, state)
    end
  end
  return state
end

-- Milliseconds and microseconds. Fails if this is not the master.
local function now()
  local time = redis.call('TIME')
  local micros = time[1] * 1000000 + time[2]
  local millis = math.floor(micros / 1000)
  if millis ~= asked_at then
    local info = redis.call('INFO', 'replication')
    local id = string.match(info, 'master_replid:(%w+)') or ''
    is_master = string.find(info, 'role:master', 1, true) ~= nil
    if id ~= replication or not is_master then
      young, old, remembered = {}, {}, 0
    end
    asked_at, replication, time_text = millis, id, text(millis)
    time_field = '\2\0\8' .. struct.pack('>I8', millis)
  end
  if not is_master then
    fail('READONLY this is a replica')
  end
  return millis, micros
end

-- Whether text is UTF-8. What is valid becomes a blank, so that nothing comes together that was apart.
local function is_utf8(value)
  local rest = value
  for _, pattern in ipairs({
    '[\194-\223][\128-\191]', '\224[\160-\191][\128-\191]', '[\225-\236\238\239][\128-\191][\128-\191]',
    '\237[\128-\159][\128-\191]', '\240[\144-\191][\128-\191][\128-\191]',
    '[\241-\243][\128-\191][\128-\191][\128-\191]', '\244[\128-\143][\128-\191][\128-\191]'
  }) do
    rest = string.gsub(rest, pattern, ' ')
  end
  return not string.find(rest, '[\128-\255]')
end

-- Whether nodes know a channel by this name.
local function is_name(name)
  if #name < 1 or #name > 255 then
    return false
  end
  if not string.find(name, '[^%w:._-]') then
    return true
  end
  -- C1's controls are two bytes.
  return not (string.find(name, '[%c{}*?%[%]\\]') or string.find(name, '\194[\128-\159]') or string.find(name, '^%$')
    or string.find(string.gsub(name, '%%%x%x', ''), '%%')) and is_utf8(name)
end

-- What holds for the channel of a key: its options, and those of its namespace.
local function rules(key)
  local prefix, name = string.match(key, '^([^{}]+):{([^{}]*)}$')
  if not prefix then
    fail('ERR the key must be <prefix>:{<channel>}, and is ' .. key)
  end
  local options = OPTIONS[prefix]
  if not options then
    fail('ULLIMPREFIX no node has said which channels with the prefix ' .. prefix .. ' are recoverable')
  end
  if not is_name(name) then
    fail('ERR the key ' .. key .. ' names no channel: names have 1 to 255 bytes of UTF-8 without controls and '
      .. '{ } * ? [ ] \\, do not begin with $, and have % only in %XX')
  end
  local namespace = string.match(name, '^([^:]*):') or 'default'
  local rule = options.namespaces[namespace]
  if not rule then
    fail('ERR the namespace ' .. namespace .. ' is not recoverable: use ' .. options.publish)
  end
  return options, rule
end

local function need(command, ...)
  if not redis.acl_check_cmd(command, ...) then
    fail('NOPERM this user may not use ' .. command .. ' on ' .. select(select('#', ...) > 1 and 2 or 1, ...))
  end
end

-- An error of Redis that says nothing of the key.
local function refuse(key, answer)
  if string.find(answer.err, '^WRONGTYPE') then
    fail('WRONGTYPE ' .. key .. ' is not a stream: somebody else writes there. Move it away with RENAME, or DEL it')
  end
  error(answer)
end

-- The open epoch of a stream: what is remembered of a channel, but for how far it is. Then the replication id under which
-- it was opened, and the names of all groups that are ours; of no groups if there is no stream.
local function open_epoch(key)
  local groups = redis.pcall('XINFO', 'GROUPS', key)
  if groups.err then
    if string.find(groups.err, 'no such key', 1, true) then
      return nil
    end
    need('xinfo', 'groups', key)
    refuse(key, groups)
  end
  local epoch, under, group
  local names = {}
  for i = 1, #groups do
    local name = groups[i][2]
    local digits, id = string.match(name, '^u:(%d+):(%w*)$')
    -- Nobody has opened one that is beyond all numbers.
    if digits and #digits <= 16 and tonumber(digits) < MAX_NUMBER then
      names[#names + 1] = name
      if not epoch or tonumber(digits) > tonumber(epoch) then
        epoch, under, group = digits, id, groups[i]
      end
    end
  end
  if not epoch then
    return nil, nil, names
  end
  local last = group[8]
  -- The group knows no id of its own epoch until the first entry.
  local is_first = string.sub(last, 1, #epoch + 1) ~= epoch .. '-'
  return { nil, nil, epoch, group[2], nil, is_first, last }, under, names
end

-- The last id that the stream has given; nil if there is no stream. Redis copies the first and the last entry.
local function last_id(key)
  local info = redis.pcall('XINFO', 'STREAM', key)
  if info.err then
    if string.find(info.err, 'no such key', 1, true) then
      return nil
    end
    need('xinfo', 'stream', key)
    refuse(key, info)
  end
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      return info[i + 1]
    end
  end
end

local function complete(state, settings, rule)
  state[SETTINGS], state[RULE] = settings, rule
  state[FIELD] = '\134\0\16' .. struct.pack('>I8', tonumber(state[EPOCH]))
  return state
end

-- Opens a new epoch behind the one that was open. Its cut is the last id; but if the epoch before had no entry, it is
-- that epoch's cut: whoever stands there has missed nothing.
local function open(key, settings, rule, micros, before, names)
  need('xgroup', 'create', key, 'u', '$')
  need('xgroup', 'destroy', key, 'u')
  need('xsetid', key, '1-0')
  need('pexpire', key, '1')
  local last = last_id(key)
  local epoch = math.max(micros, issued + 1)
  if last then
    local of = tonumber(string.match(last, '^(%d+)-')) or 0
    if of >= MAX_NUMBER - 1 then
      fail('ERR the stream ' .. key .. ' has had the id ' .. last .. ', which is beyond all epochs: somebody else has '
        .. 'written there. Nothing can be published behind it: DEL the stream, and its history begins anew')
    end
    epoch = math.max(epoch, of + 1)
  end
  issued = epoch
  local digits = text(epoch)
  local cut = last or '0-0'
  if before and before[IS_FIRST] and last == before[EPOCH] .. '-0' and before[CUT] ~= '0-0' then
    cut = before[CUT]
  end
  local group = 'u:' .. digits .. ':' .. replication
  redis.call('XGROUP', 'CREATE', key, group, last and cut or '$', 'MKSTREAM')
  redis.call('XSETID', key, digits .. '-0')
  for _, name in ipairs(names or {}) do
    redis.call('XGROUP', 'DESTROY', key, name)
  end
  if not last then
    redis.call('PEXPIRE', key, rule[2])
  end
  return complete({ nil, nil, digits, group, 0, true, cut }, settings, rule)
end

-- The open epoch; opens one if there is none, if what it was opened under is not what Redis has now, or if the stream has
-- had ids `beyond` it. Whether it is new.
local function current(key, settings, rule, micros, beyond)
  forget(key)
  local state, under, names = open_epoch(key)
  if state and not beyond and (under == replication or not FOLLOWS_REPLICATION) then
    return complete(state, settings, rule), false
  end
  state = open(key, settings, rule, micros, state, names)
  remember(key, state)
  return state, true
end

-- Whether the stream still has the epoch that is remembered.
local function stands(key, state)
  return not redis.pcall('XINFO', 'CONSUMERS', key, state[GROUP]).err
end

-- Where the channel stands: its epoch, with the offset.
local function standing(key, micros)
  local state = recall(key)
  -- Nothing has come behind what is remembered: to ask that copies no entry.
  if state and stands(key, state) then
    local behind = '(' .. state[EPOCH] .. '-' .. text(state[OFFSET])
    if #redis.call('XRANGE', key, behind, '+', 'COUNT', 1) == 0 then
      return state
    end
  end
  local settings, rule = rules(key)
  local is_new
  state, is_new = current(key, settings, rule, micros)
  if not is_new then
    local epoch, offset = string.match(last_id(key), '^(%d+)-(%d+)$')
    if epoch == state[EPOCH] then
      state[OFFSET] = tonumber(offset)
    elseif tonumber(epoch) > tonumber(state[EPOCH]) then
      return (current(key, settings, rule, micros, true))
    else
      state[OFFSET] = 0
    end
    if state[IS_FIRST] == (state[OFFSET] == 0) then
      remember(key, state)
    end
  end
  return state
end
