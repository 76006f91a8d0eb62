// An ordinary Express program: `node server.js` runs it as well, with nothing of Isola.
import express from 'express';

const app = express();
const users = new Map([[1, { id: 1, name: 'Ada' }], [2, { id: 2, name: 'Grace' }]]);

app.use(express.json());

app.get('/users', (request, response) => response.json([...users.values()]));

app.post('/users', (request, response) => {
  const { name } = request.body ?? {};
  if (typeof name !== 'string' || name === '') return response.status(400).json({ error: 'a user has a name' });
  const user = { id: users.size + 1, name };
  users.set(user.id, user);
  response.status(201).location(`/users/${user.id}`).json(user);
});

app.get('/users/:id', (request, response) => {
  const user = users.get(Number(request.params.id));
  if (user === undefined) return response.status(404).json({ error: `there is no user ${request.params.id}` });
  response.json(user);
});

app.use((request, response) => response.status(404).json({ error: `there is no ${request.path}` }));

const port = process.env.PORT ?? 3000;
app.listen(port, () => console.log(`listening on ${port}`));
