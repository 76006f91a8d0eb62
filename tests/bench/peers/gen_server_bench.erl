%% SPDX-License-Identifier: Apache-2.0
%%
%% The same loads on Erlang's gen_server as tests/bench/app/caller.js puts on actors. Takes a command a line, answers each with a JSON line:
%%
%%   start N [NODE]           N servers, one after the other; here, or at the node of that name
%%   ask CALLERS MS           CALLERS processes call them in turn for MS milliseconds
%%   cast SENDERS MS          SENDERS processes cast to them, with a call after every thousand casts; until all are counted
%%   data SENDERS MS BYTES    the same with a binary of so many bytes, and the next thousand are on their way before a call's answer is waited for
%%   bulk CALLERS MS BYTES    the calls have a binary of so many bytes
%%
%% `delays` are those of one message in sixteen (of one in a thousand casts, of none with a binary), in microseconds. Ends with its standard input,
%% so a node that has nothing to do but to hold servers is started the same way.
-module(gen_server_bench).
-behaviour(gen_server).
-export([main/0, start/1, init/1, handle_call/3, handle_cast/2]).
-define(EVERY, 16).
-define(KEPT, 4000).

init(_) -> {ok, {0, []}}.
handle_call({echo, X}, _From, S) -> {reply, X, S};
handle_call({size, B}, _From, S) -> {reply, byte_size(B), S};
handle_call(count, _From, S) -> {reply, S, {0, []}}.
handle_cast(tick, {N, Late}) -> {noreply, {N + 1, Late}};
handle_cast({data, _}, {N, Late}) -> {noreply, {N + 1, Late}};
handle_cast({tick, Sent}, {N, Late}) -> {noreply, {N + 1, [now_ns() - Sent | Late]}}.

main() ->
    io:setopts([binary]),
    serve({}).

serve(Pids) ->
    case io:get_line('') of
        eof -> halt();
        Line ->
            [Command | Args] = string:lexemes(string:trim(Line), " "),
            serve(command(Command, [word(A) || A <- Args], Pids))
    end.

word(A) ->
    try binary_to_integer(A) catch error:badarg -> binary_to_atom(A) end.

start(N) -> [element(2, gen_server:start(?MODULE, [], [])) || _ <- lists:seq(1, N)].

command(<<"start">>, [N], _) -> command(<<"start">>, [N, node()], {});
command(<<"start">>, [N, Node], _) ->
    {Took, Pids} = timer:tc(fun() -> erpc:call(Node, ?MODULE, start, [N]) end),
    io:format("{\"n\":~b,\"rate\":~.1f,\"us\":~.3f}~n", [N, N * 1.0e6 / Took, Took / N]),
    list_to_tuple(Pids);
command(<<"ask">>, [Callers, Ms], Pids) ->
    Start = now_ns(),
    End = Start + Ms * 1000000,
    {N, Delays} = together(Callers, fun(I) -> caller(Pids, {echo, 1}, 1, seed(I), End, 0, []) end),
    answer(N, now_ns() - Start, Delays),
    Pids;
command(<<"bulk">>, [Callers, Ms, Bytes], Pids) ->
    Binary = binary:copy(<<7>>, Bytes),
    Start = now_ns(),
    End = Start + Ms * 1000000,
    {N, Delays} = together(Callers, fun(I) -> caller(Pids, {size, Binary}, Bytes, seed(I), End, 0, []) end),
    answer(N, now_ns() - Start, Delays),
    Pids;
command(<<"data">>, [Senders, Ms, Bytes], Pids) ->
    Message = {data, binary:copy(<<7>>, Bytes)},
    Start = now_ns(),
    End = Start + Ms * 1000000,
    {N, _} = together(Senders, fun(I) -> {data(Pids, Message, I * size(Pids) div Senders, End, 0, none), []} end),
    {Counted, _} = together(Senders, fun(I) -> counts(Pids, I + 1, Senders, 0, []) end),
    Counted = N,
    answer(N, now_ns() - Start, []),
    Pids;
command(<<"cast">>, [Senders, Ms], Pids) ->
    Start = now_ns(),
    End = Start + Ms * 1000000,
    {N, _} = together(Senders, fun(I) -> {sender(Pids, I * size(Pids) div Senders, End, 0), []} end),
    {Counted, Late} = together(Senders, fun(I) -> counts(Pids, I + 1, Senders, 0, []) end),
    Counted = N,
    answer(N, now_ns() - Start, Late),
    Pids.

together(Count, Work) ->
    Self = self(),
    [spawn_link(fun() -> Self ! {done, Work(I)} end) || I <- lists:seq(0, Count - 1)],
    All = [receive {done, R} -> R end || _ <- lists:seq(1, Count)],
    {lists:sum([N || {N, _} <- All]), lists:append([lists:sublist(D, ?KEPT) || {_, D} <- All])}.

caller(Pids, Message, Reply, X, End, N, Delays) when N rem ?EVERY =:= ?EVERY - 1 ->
    Begun = now_ns(),
    Reply = gen_server:call(at(Pids, X bsr 8), Message),
    Now = now_ns(),
    if Now >= End -> {N + 1, Delays};
       true -> caller(Pids, Message, Reply, next(X), End, N + 1, [Now - Begun | Delays])
    end;
caller(Pids, Message, Reply, X, End, N, Delays) ->
    Reply = gen_server:call(at(Pids, X bsr 8), Message),
    caller(Pids, Message, Reply, next(X), End, N + 1, Delays).

%% Whom a caller asks is drawn by lot, as in caller.js.
seed(I) -> I * 16#9e3779b1 band 16#ffffffff.
next(X) -> (X * 1664525 + 1013904223) band 16#ffffffff.

data(Pids, Message, I, End, N, Asked) ->
    [gen_server:cast(at(Pids, I + K), Message) || K <- lists:seq(0, 999)],
    Asks = gen_server:send_request(at(Pids, I + 1000), {echo, 1}),
    Asked =:= none orelse ({reply, 1} = gen_server:wait_response(Asked, infinity)),
    case now_ns() > End of
        true ->
            {reply, 1} = gen_server:wait_response(Asks, infinity),
            N + 1000;
        false -> data(Pids, Message, I + 1000, End, N + 1000, Asks)
    end.

sender(Pids, I, End, N) ->
    gen_server:cast(at(Pids, I), {tick, now_ns()}),
    [gen_server:cast(at(Pids, I + K), tick) || K <- lists:seq(1, 999)],
    1 = gen_server:call(at(Pids, I + 1000), {echo, 1}, infinity),
    case now_ns() > End of
        true -> N + 1000;
        false -> sender(Pids, I + 1000, End, N + 1000)
    end.

counts(Pids, I, _, N, Late) when I > size(Pids) -> {N, Late};
counts(Pids, I, Step, N, Late) ->
    {Count, More} = gen_server:call(element(I, Pids), count, infinity),
    counts(Pids, I + Step, Step, N + Count, More ++ Late).

at(Pids, I) -> element(I rem size(Pids) + 1, Pids).
now_ns() -> erlang:monotonic_time(nanosecond).

answer(N, Ns, Delays) ->
    Text = lists:join(",", [io_lib:format("~.1f", [D / 1000]) || D <- Delays]),
    io:format("{\"n\":~b,\"rate\":~.1f,\"delays\":[~s]}~n", [N, N * 1.0e9 / Ns, Text]).
