// SPDX-License-Identifier: Apache-2.0
var express = require('express');
var jwt = require('jsonwebtoken');
var micromatch = require('micromatch');
var passport = require('passport');
var semver = require('semver');
var uuid = require('uuid');

var version = '1.0.0';
var router = express.Router();
router.get('/', function (req, res) { res.render('index', { title: 'Shop', user: req.user, items: ['apples', 'pears', 'plums'] }); });
router.get('/version', function (req, res) { res.json({ version: semver.clean(version), packages: require('../package.json').name }); });
router.post('/login', passport.authenticate('local', { successRedirect: '/', failureRedirect: '/denied' }));
router.get('/denied', function (req, res) { res.status(401).json({ error: 'who are you?' }); });
router.get('/match/:pattern', function (req, res) { res.json(micromatch(['a.js', 'b.md', 'c.js'], req.params.pattern)); });
router.get('/token', function (req, res) { res.json(jwt.verify(jwt.sign({ id: uuid.v4() }, 'key'), 'key')); });
module.exports = router;
