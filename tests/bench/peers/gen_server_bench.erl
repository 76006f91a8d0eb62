%% SPDX-License-Identifier: Apache-2.0
%%
%% The same work on Erlang's gen_server: start SERVERS servers, then CALLERS callers ask them in turn for MS milliseconds; then one-way
%% casts. Prints a JSON line each: rate and the distribution of sampled latencies in microseconds.
-module(gen_server_bench).
-behaviour(gen_server).
-export([main/1, init/1, handle_call/3, handle_cast/2]).

init(_) -> {ok, 0}.
handle_call({echo, X}, _From, N) -> {reply, X, N};
handle_call(count, _From, N) -> {reply, N, N}.
handle_cast(tick, N) -> {noreply, N + 1}.

main([S, C, M]) ->
    Servers = list_to_integer(atom_to_list(S)),
    Callers = list_to_integer(atom_to_list(C)),
    Ms = list_to_integer(atom_to_list(M)),
    Before = erlang:memory(total),
    {Took, Pids} = timer:tc(fun() -> [element(2, gen_server:start(?MODULE, [], [])) || _ <- lists:seq(1, Servers)] end),
    io:format("{\"peer\":\"erlang\",\"bench\":\"birth\",\"n\":~b,\"us\":~.2f,\"bytes\":~b}~n",
              [Servers, Took / Servers, (erlang:memory(total) - Before) div Servers]),
    Tuple = list_to_tuple(Pids),
    asks(Tuple, Callers, Ms div 3),
    {N, Samples, Span} = asks(Tuple, Callers, Ms),
    report("ask", Servers, Callers, N, Samples, Span),
    casts(Tuple, Ms),
    halt().

asks(Pids, Callers, Ms) ->
    Self = self(),
    End = erlang:monotonic_time(nanosecond) + Ms * 1000000,
    Start = erlang:monotonic_time(nanosecond),
    [spawn_link(fun() -> Self ! {done, caller(Pids, I * 131, End, 0, [])} end) || I <- lists:seq(1, Callers)],
    All = [receive {done, R} -> R end || _ <- lists:seq(1, Callers)],
    Span = erlang:monotonic_time(nanosecond) - Start,
    {lists:sum([N || {N, _} <- All]), lists:append([L || {_, L} <- All]), Span}.

caller(Pids, I, End, N, Samples) ->
    To = element(I rem size(Pids) + 1, Pids),
    case N rem 16 of
        0 ->
            T = erlang:monotonic_time(nanosecond),
            1 = gen_server:call(To, {echo, 1}),
            Now = erlang:monotonic_time(nanosecond),
            if Now >= End -> {N + 1, Samples};
               true -> caller(Pids, I + 1, End, N + 1, [Now - T | Samples])
            end;
        _ ->
            1 = gen_server:call(To, {echo, 1}),
            caller(Pids, I + 1, End, N + 1, Samples)
    end.

casts(Pids, Ms) ->
    Start = erlang:monotonic_time(nanosecond),
    N = cast(Pids, 0, Start + Ms * 1000000),
    [gen_server:call(P, count, infinity) || P <- tuple_to_list(Pids)],
    Span = erlang:monotonic_time(nanosecond) - Start,
    io:format("{\"peer\":\"erlang\",\"bench\":\"emit\",\"actors\":~b,\"rate\":~b}~n", [size(Pids), round(N * 1.0e9 / Span)]).

cast(Pids, N, End) ->
    gen_server:cast(element(N rem size(Pids) + 1, Pids), tick),
    case N rem 256 =:= 0 andalso erlang:monotonic_time(nanosecond) > End of
        true -> N + 1;
        false -> cast(Pids, N + 1, End)
    end.

report(Name, Servers, Callers, N, Samples, Span) ->
    Sorted = list_to_tuple(lists:sort(Samples)),
    At = fun(Q) -> element(max(1, round(size(Sorted) * Q)), Sorted) / 1000 end,
    io:format("{\"peer\":\"erlang\",\"bench\":\"~s\",\"actors\":~b,\"callers\":~b,\"rate\":~b,\"p50us\":~.1f,\"p99us\":~.1f,\"maxus\":~.1f}~n",
              [Name, Servers, Callers, round(N * 1.0e9 / Span), At(0.5), At(0.99), At(1.0)]).
