// SPDX-License-Identifier: Apache-2.0
var LocalStrategy = require('passport-local').Strategy;
var _ = require('lodash');

var users = [{ id: 1, username: 'ada', password: 'secret' }];

module.exports = function (passport) {
  passport.use(new LocalStrategy(function (username, password, done) { done(null, _.find(users, { username: username, password: password }) || false); }));
  passport.serializeUser(function (user, done) { done(null, user.id); });
  passport.deserializeUser(function (id, done) { done(null, _.find(users, { id: id }) || false); });
};
