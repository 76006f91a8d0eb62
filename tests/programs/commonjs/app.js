// SPDX-License-Identifier: Apache-2.0
//
// A program as they were made when Express was at version 4, with what was usual then around it.
var express = require('express');
var path = require('path');
var _ = require('lodash');
var cookieParser = require('cookie-parser');
var bodyParser = require('body-parser');
var compression = require('compression');
var cors = require('cors');
var methodOverride = require('method-override');
var session = require('express-session');
var flash = require('connect-flash');
var passport = require('passport');

var log = require('./lib/log');
require('./lib/users')(passport);

var app = express();
app.set('views', path.join(__dirname, 'views'));
app.set('view engine', 'pug');
app.use(require('morgan')('tiny', { stream: { write: function (line) { log.debug(_.trim(line)); } } }));
app.use(cors());
app.use(compression());
app.use(bodyParser.json());
app.use(bodyParser.urlencoded({ extended: false }));
app.use(cookieParser());
app.use(methodOverride('_method'));
app.use(session({ secret: 'no secret', resave: false, saveUninitialized: false }));
app.use(flash());
app.use(passport.initialize());
app.use(passport.session());
app.use('/', require('./routes/index'));
app.use(function (req, res) { res.status(404).render('error', { message: 'Not Found', path: req.path }); });
app.use(function (err, req, res, next) { // eslint-disable-line no-unused-vars
  log.error(err.stack);
  res.status(err.status || 500).render('error', { message: err.message, path: req.path });
});
module.exports = app;
