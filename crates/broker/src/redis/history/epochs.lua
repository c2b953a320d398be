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

-- How many channels a generation of what is remembered holds; there are two. Each costs every call a little: Redis has
-- Lua collect its garbage at a fixed pace, so that a larger heap is walked through for longer.
local GENERATION = 512

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

-- What is remembered of channels with publications in their open epoch, by key: the epoch's group, the last offset, and
-- what holds. It is a cache: before use it is compared with the stream, and XADD refuses a position that is not a new
-- one. It holds for one replication id.
local groups, offsets, rule_of = {}, {}, {}
local old_groups, old_offsets, old_rule_of = {}, {}, {}
local remembered, is_full = 0, false

-- Which of many it is: whatever comes round at regular intervals would always hit the same channels.
local dice = 1

local function one_in(number)
  dice = dice * 16807 % 2147483647
  return dice % number == 0
end

-- The epoch stands in the group's name, at the same place until the year 2286.
local function epoch_in(group)
  return string.sub(group, 3, 18)
end

local function keep(key, group, offset, rule)
  if not groups[key] then
    if remembered >= GENERATION then
      old_groups, old_offsets, old_rule_of = groups, offsets, rule_of
      groups, offsets, rule_of = {}, {}, {}
      remembered, is_full = 0, true
    end
    remembered = remembered + 1
  end
  groups[key], offsets[key], rule_of[key] = group, offset, rule
end

-- Of those for which there is no room only a few take others' places: with very many channels it would be in vain, and
-- make garbage.
local function remember(key, epoch, group, offset, rule)
  if #epoch == 16 and offset > 0 and (not is_full or one_in(64)) then
    keep(key, group, offset, rule)
  end
end

local function forget(key)
  groups[key], old_groups[key] = nil, nil
end

local function forget_all()
  groups, offsets, rule_of = {}, {}, {}
  old_groups, old_offsets, old_rule_of = {}, {}, {}
  remembered, is_full = 0, false
end

local function recall(key)
  local group = groups[key]
  if not group then
    group = old_groups[key]
    if not group then
      return nil
    end
    keep(key, group, old_offsets[key], old_rule_of[key])
  end
  return group, offsets[key], rule_of[key]
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
      forget_all()
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

-- What holds for the channel of a key, by its namespace: how many are kept, for how long, and which command publishes.
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
  rule[3] = options.publish
  return rule
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

-- The epoch in a group's name, and the replication id under which it was opened; nil if the group is not ours. Nobody has
-- opened one that is beyond all numbers.
local function epoch_of(name)
  local epoch, under = string.match(name, '^u:([1-9]%d*):(%w*)$')
  if epoch and #epoch <= 16 and tonumber(epoch) < MAX_NUMBER then
    return epoch, under
  end
end

-- The open epoch of a stream: its text, its group, the last id that the group knows, and the replication id under which
-- it was opened. Then all groups; nil if there is no stream.
local function open_epoch(key)
  local found = redis.pcall('XINFO', 'GROUPS', key)
  if found.err then
    if string.find(found.err, 'no such key', 1, true) then
      return nil
    end
    need('xinfo', 'groups', key)
    refuse(key, found)
  end
  local epoch, group, under
  for i = 1, #found do
    local text, id = epoch_of(found[i][2])
    if text and (not epoch or tonumber(text) > tonumber(epoch)) then
      epoch, group, under = text, found[i], id
    end
  end
  if epoch then
    return epoch, group[2], group[8], under, found
  end
  return nil, nil, nil, nil, found
end

-- Of an epoch and the last id that its group knows: whether the epoch has no entry yet, and then its cut.
local function first_of(epoch, last)
  if string.sub(last, 1, #epoch + 1) == epoch .. '-' then
    return false
  end
  return true, last ~= '0-0' and last or nil
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

-- Opens a new epoch behind the one that was open. Its cut is the last id; but if the epoch before had no entry, it is
-- that epoch's cut: whoever stands there has missed nothing.
local function open(key, rule, micros, before, known, groups_there)
  need('xgroup', 'create', key, 'u', '$')
  need('xgroup', 'destroy', key, 'u')
  need('xgroup', 'setid', key, 'u', '1-1')
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
  -- An id that is beyond all numbers is named as the last of them: nobody stands there.
  if last and tonumber(string.match(last, '-(%d+)$')) >= MAX_NUMBER then
    cut = string.match(last, '^%d+') .. '-' .. text(MAX_NUMBER - 1)
  end
  if before and last == before .. '-0' then
    local _, before_cut = first_of(before, known)
    cut = before_cut or cut
  end
  local group = 'u:' .. digits .. ':' .. replication
  redis.call('XGROUP', 'CREATE', key, group, last and cut or '$', 'MKSTREAM')
  redis.call('XSETID', key, digits .. '-0')
  for _, old in ipairs(groups_there or {}) do
    if epoch_of(old[2]) then
      redis.call('XGROUP', 'DESTROY', key, old[2])
    end
  end
  if not last then
    redis.call('PEXPIRE', key, rule[2])
  end
  return digits, group, cut
end

-- The open epoch, its group, and the last id that this knows; opens one if there is none, if what it was opened under is
-- not what Redis has now, or if the stream has had ids `beyond` it. Whether it is new.
local function current(key, rule, micros, beyond)
  forget(key)
  local epoch, group, known, under, all = open_epoch(key)
  if epoch and not beyond and (under == replication or not FOLLOWS_REPLICATION) then
    return epoch, group, known, false
  end
  epoch, group, known = open(key, rule, micros, epoch, known, all)
  return epoch, group, known, true
end

-- Whether the stream still has the epoch that is remembered.
local function stands(key, group)
  return not redis.pcall('XINFO', 'CONSUMERS', key, group).err
end

-- Whether a stream has nothing behind a position. To ask that copies no entry.
local function is_last(key, epoch, offset)
  return #redis.call('XRANGE', key, '(' .. epoch .. '-' .. text(offset), '+', 'COUNT', 1) == 0
end

-- Whether somebody else has given the stream an id behind which its epoch has no numbers, or behind its epoch.
local function is_used_up(key, epoch)
  return not is_last(key, epoch, MAX_NUMBER - 2)
end

-- Where the channel stands: its epoch, as text, and the offset; the epoch's cut if it has no entry yet.
local function standing(key, micros)
  local group, offset = recall(key)
  if group and stands(key, group) and is_last(key, epoch_in(group), offset) then
    return epoch_in(group), offset
  end
  local rule = rules(key)
  local epoch, known, is_new
  epoch, group, known, is_new = current(key, rule, micros)
  local is_first, cut = first_of(epoch, known)
  if is_new or (is_first and is_last(key, epoch, 0)) then
    return epoch, 0, cut
  end
  local of, number = string.match(last_id(key), '^(%d+)-(%d+)$')
  if tonumber(of) > tonumber(epoch) or tonumber(number) >= MAX_NUMBER - 1 then
    local later, _, behind = current(key, rule, micros, true)
    return later, 0, select(2, first_of(later, behind))
  end
  -- It cannot be before its epoch, unless by hand.
  offset = of == epoch and tonumber(number) or 0
  if not is_first then
    remember(key, epoch, group, offset, rule)
  end
  return epoch, offset
end
